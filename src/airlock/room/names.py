"""DNS in the room: one name has an address, every other is refused and recorded.

The refusal is NXDOMAIN: to clients that is final, while REFUSED and SERVFAIL make resolvers ask again and pip, curl and
apt report a temporary failure that they wait for.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Literal, cast

import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from airlock.core.dns_wire import converse, read_question
from airlock.room.gateway import MIRROR_NAME, listen
from airlock.room.namespace import Namespace
from airlock.room.report import NameQuery, Tally

PORT = 53
TTL = 60
_ADDRESSES = {"A": "127.0.0.1", "AAAA": "::1"}
_ANSWERED = (MIRROR_NAME, "localhost")
_LOOPBACK = tuple(dns.reversename.from_address(a).to_text(omit_final_dot=True) for a in _ADDRESSES.values())


class Names:
    """The resolver. ``own_names`` gives the host names of the room's containers, ``attribution`` the image in work."""

    def __init__(self, attribution: Callable[[], str], own_names: Callable[[], frozenset[str]]) -> None:
        self._attribution = attribution
        self._own_names = own_names
        self._tally: Tally[NameQuery] = Tally()
        self._server: asyncio.Server | None = None
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def queries(self) -> list[NameQuery]:
        """Every question so far, counted."""
        return self._tally.entries

    @property
    def dropped(self) -> int:
        """Questions beyond the bound of the record."""
        return self._tally.dropped

    async def start(self, namespace: Namespace) -> None:
        """Bind 127.0.0.1:53, UDP and TCP, in the room and answer."""
        datagram, stream = namespace.inside(lambda: (_datagram(), listen(socket.AF_INET, "127.0.0.1", PORT)))
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self.answer), sock=datagram)
        self._server = await asyncio.start_server(self._converse, sock=stream)

    async def stop(self) -> None:
        """Close the sockets, or the namespace lives on."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def answer(self, wire: bytes) -> bytes | None:
        """The answer to one message in wire format (RFC 1035), or None when it is not a question at all."""
        asked = read_question(wire)
        if asked is None:
            return None
        response, question = asked
        if question is None:
            return response.to_wire()
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        known = name in _ANSWERED and question.rdclass == dns.rdataclass.IN
        if not known:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif address := _ADDRESSES.get(kind):
            response.answer.append(dns.rrset.from_text(question.name, TTL, "IN", kind, address))
        self._tally.add(
            NameQuery(name=name, type=kind, kind="mirror" if known else self._kind(name), image=self._attribution())
        )
        return response.to_wire()

    def _kind(self, name: str) -> Literal["noise", "refused"]:
        if name in (f"_http._tcp.{MIRROR_NAME}", *_LOOPBACK):
            return "noise"
        return "noise" if "." not in name and name in self._own_names() else "refused"

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer(wire: bytes) -> bytes | None:
            return self.answer(wire)

        await converse(reader, writer, answer)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes | None]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # asyncio's own class does not say so

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self._transport is not None and (answer := self._answer(data)) is not None:
            self._transport.sendto(answer, address)


def _datagram() -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.bind(("127.0.0.1", PORT))
    bound.setblocking(False)
    return bound
