"""The window's resolver: it answers for the named hosts alone, and lets through what it answered.

An address is let through before it is told to anyone. How long is the record's time to live, bounded on both sides: no
shorter than a download can well be, no longer than a change of the name may go unnoticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import msgspec

from airlock.core.dns_wire import converse, read_question
from airlock.core.errors import AirlockError, UsageError, WindowError
from airlock.firewall.hosts import UNNAMED, is_private

SHORTEST = 300  # seconds that an address is let through at least
LONGEST = 3600
TOLD = 30  # seconds that clients may keep an answer
MAX_NAMES = 1000  # refused names that the record names apart
_LIFETIME = 5.0  # seconds that all name servers together may take for one question
_HOSTS = Path("/etc/hosts")
Admit = Callable[[str, tuple[str, ...], float], None]


class Found(msgspec.Struct, frozen=True):
    """Addresses of a name; ``seconds``: how long they may pass; ``asked``: when, on the monotonic clock."""

    addresses: tuple[str, ...]
    seconds: float
    asked: float

    def due(self, now: float) -> bool:
        """Whether it is time to ask again: long before what was let through is forgotten."""
        return now > self.asked + self.seconds / 2


class Resolver:
    """Made for one window.

    Args:
        names: that are answered.
        private: of these, which may have addresses in private space.
        limit: addresses that a name may have.
        nameservers: ``address`` or ``address:port``; those of /etc/resolv.conf where there are none.
        admit: called with (name, addresses, seconds) before an answer is given; may block.
    """

    def __init__(
        self, names: Iterable[str], *, private: Iterable[str], limit: int, nameservers: Iterable[str], admit: Admit
    ) -> None:
        self._names = frozenset(names)
        self._private = frozenset(name.lower().rstrip(".") for name in private)
        self._limit, self._admit = limit, admit
        self._asker = _asker(list(nameservers))
        self._known: dict[str, Found] = {}
        self._busy: dict[str, asyncio.Lock] = {}
        self._servers: list[asyncio.Server] = []
        self._transports: list[asyncio.DatagramTransport] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused: dict[str, int] = {}
        self.notes: list[str] = []

    async def find_all(self) -> dict[str, Found]:
        """Look up every name; nothing is let through yet. A name without an address is no error: it may get one.

        Raises:
            WindowError: a name has an address in private space that the settings do not allow, or too many.
        """
        found = await asyncio.gather(*(self._look_up(name) for name in sorted(self._names)))
        self._known = {name: one for name, one in zip(sorted(self._names), found, strict=True) if one is not None}
        return dict(self._known)

    async def start(self, datagrams: Iterable[socket.socket], streams: Iterable[socket.socket]) -> None:
        """Answer on these sockets, bound already."""
        loop = asyncio.get_running_loop()
        for bound in datagrams:
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=bound)
            self._transports.append(transport)
        for bound in streams:
            self._servers.append(await asyncio.start_server(self._converse, sock=bound))

    async def stop(self) -> None:
        """Close the sockets."""
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def renew(self) -> None:
        """Ask again for what is about to be forgotten, and let through what the names have now."""
        now = time.monotonic()
        for name in [name for name, found in self._known.items() if found.due(now)]:
            await self._fresh(name)

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Addresses of a named host, let through. None where it has none, or none that it may have."""
        known = self._known.get(name)
        if known is None or known.due(time.monotonic()):
            known = await self._fresh(name)
        return known.addresses if known else ()

    async def answer(self, wire: bytes) -> bytes | None:
        """The answer to one message in wire format (RFC 1035); None where it is no question."""
        asked = read_question(wire)
        if asked is None:
            return None
        response, question = asked
        if question is None:
            return response.to_wire()
        name = question.name.to_text(omit_final_dot=True).lower()
        if name not in self._names or question.rdclass != dns.rdataclass.IN:
            if name != UNNAMED and (name in self.refused or len(self.refused) < MAX_NAMES):
                self.refused[name] = self.refused.get(name, 0) + 1
            response.set_rcode(dns.rcode.NXDOMAIN)  # to clients this is final: they do not wait
            return response.to_wire()
        version = {dns.rdatatype.A: ".", dns.rdatatype.AAAA: ":"}.get(question.rdtype)
        if version:
            addresses = await self.addresses(name)
            if not addresses:
                response.set_rcode(dns.rcode.SERVFAIL)
            elif mine := [
                address for address in addresses if version in address and (version != "." or ":" not in address)
            ]:
                kind = dns.rdatatype.to_text(question.rdtype)
                response.answer.append(dns.rrset.from_text(question.name, TOLD, "IN", kind, *mine))
        return response.to_wire()

    async def _fresh(self, name: str) -> Found | None:
        async with self._busy.setdefault(name, asyncio.Lock()):
            known = self._known.get(name)
            if known is not None and not known.due(time.monotonic()):
                return known
            try:
                found = await self._look_up(name)
            except WindowError as error:
                if error.message not in self.notes:
                    self.notes.append(error.message)
                return None
            if found is None:
                return known  # what was let through stays until it is forgotten
            await asyncio.to_thread(self._admit, name, found.addresses, found.seconds)
            self._known[name] = found
            return found

    async def _look_up(self, name: str) -> Found | None:
        addresses, ttl = _static(name), float(SHORTEST)
        if not addresses:
            answers = await asyncio.gather(self._ask(name, "A"), self._ask(name, "AAAA"))
            addresses = tuple(dict.fromkeys(address for found, _ in answers for address in found))
            ttl = min((time_left for found, time_left in answers if found), default=0)
        if not addresses:
            return None
        if len(addresses) > self._limit:
            raise WindowError(
                f"{name} has {len(addresses)} addresses, and a window takes {self._limit} of one name",
                remedy="Name another mirror, or allow more: [window] max_addresses in factory.toml.",
            )
        bad = [] if name in self._private else [address for address in addresses if is_private(address)]
        if bad:
            raise WindowError(
                f"{name} has the address {bad[0]}, which is loopback or in private space: whoever answers for the name "
                "may point it at machines of yours",
                remedy=f'If it is to be there: [window] private = ["{name}"] in factory.toml.',
            )
        return Found(addresses, float(min(max(ttl, SHORTEST), LONGEST)), time.monotonic())

    async def _ask(self, name: str, kind: str) -> tuple[list[str], float]:
        try:
            answer = await self._asker.resolve(f"{name}.", kind, lifetime=_LIFETIME, search=False)
        except (dns.exception.DNSException, OSError):
            return [], 0.0
        return [record.address for record in answer], float(answer.chaining_result.minimum_ttl)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await converse(reader, writer, self.answer)

    def spawn(self, work: asyncio.Task[None]) -> None:
        """Keep a task until it is done."""
        self._tasks.add(work)
        work.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._resolver.spawn(asyncio.get_running_loop().create_task(self._reply(data, address)))

    async def _reply(self, data: bytes, address: tuple[str, int]) -> None:
        with contextlib.suppress(AirlockError, OSError):
            answer = await self._resolver.answer(data)
            if answer is not None and self._transport is not None:
                self._transport.sendto(answer, address)


def _asker(nameservers: list[str]) -> dns.asyncresolver.Resolver:
    if not nameservers:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration as error:
            raise WindowError(f"this machine has no name server: {error}") from None
    asker = dns.asyncresolver.Resolver(configure=False)
    asker.nameservers = [_nameserver(text) for text in nameservers]
    return asker


def _nameserver(text: str) -> dns.nameserver.Nameserver:
    address, port = text, 53
    if text.count(":") == 1 or text.startswith("["):
        address, _, digits = text.rpartition(":")
        port = int(digits) if digits.isdigit() else 0
    try:
        socket.getaddrinfo(address.strip("[]"), port or -1, flags=socket.AI_NUMERICHOST)
        return dns.nameserver.Do53Nameserver(address.strip("[]"), port)
    except (OSError, ValueError, OverflowError):
        raise UsageError(
            f"[window] nameservers: {text!r} is not address or address:port", remedy="For example 192.0.2.53."
        ) from None


def _static(name: str) -> tuple[str, ...]:
    """Addresses that this machine's /etc/hosts gives a name."""
    try:
        text = _HOSTS.read_text("utf-8", "replace")
    except OSError:
        return ()
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and name in (word.lower() for word in words[1:]):
            found.append(words[0])
    return tuple(found)


def bind(addresses: Mapping[str, int]) -> tuple[int, list[socket.socket], list[socket.socket]]:
    """UDP and TCP sockets on one port of all ``addresses`` (→ address family): (port, datagrams, streams).

    Raises:
        WindowError: no port is free on all of them.
    """
    for _ in range(20):
        datagrams: list[socket.socket] = []
        streams: list[socket.socket] = []
        port = 0
        try:
            for address, family in addresses.items():
                for kind, made in ((socket.SOCK_DGRAM, datagrams), (socket.SOCK_STREAM, streams)):
                    bound = socket.socket(family, kind)
                    made.append(bound)
                    if kind == socket.SOCK_STREAM:
                        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    bound.bind((address, port))
                    port = port or bound.getsockname()[1]
                    bound.setblocking(False)
            return port, datagrams, streams
        except OSError:
            for bound in (*datagrams, *streams):
                bound.close()
    raise WindowError(f"the window's resolver finds no free port on {', '.join(addresses)}")
