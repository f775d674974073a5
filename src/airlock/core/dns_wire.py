"""The part of a name server that is the same whatever it answers: messages in wire format (RFC 1035), DNS over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

_IDLE = 10.0  # seconds a TCP client may stay silent


def read_question(wire: bytes) -> tuple[dns.message.Message, dns.rrset.RRset | None] | None:
    """(the answer to be filled in, the question); None where it is no question at all.

    Where it does not ask exactly one thing, there is no question, and the answer says so already.
    """
    try:
        query = dns.message.from_wire(wire, ignore_trailing=True)
        if query.flags & dns.flags.QR:
            return None
        response = dns.message.make_response(query, recursion_available=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return response, None
    return response, query.question[0]


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Callable[[bytes], Awaitable[bytes | None]]
) -> None:
    """Answer one client's messages over TCP until it goes, falls silent, or sends what has no answer."""
    with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
        while True:
            (length,) = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), _IDLE))
            said = await answer(await asyncio.wait_for(reader.readexactly(length), _IDLE))
            if said is None:
                break
            writer.write(struct.pack("!H", len(said)) + said)
            await writer.drain()
    writer.close()
