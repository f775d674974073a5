"""What a proof tries, in a process of its own that is confined like Airlock's others."""

from __future__ import annotations

import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from airlock.firewall.confine import enter
from airlock.firewall.model import Entrance

TIMEOUT = 3.0
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN)
_DENIED = "denied"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to try.

    Attributes:
        kind: ``tcp``, ``udp``, ``icmp``, ``name``, or through a proxy ``connect`` and ``http``.
        host: address or name.
        named: whether it is the window's.
        proxy: port of the proxy on loopback.
    """

    kind: str
    host: str
    port: int = 0
    named: bool = False
    proxy: int = 0

    @property
    def words(self) -> str:
        """For the record."""
        place = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind} {place}{f':{self.port}' if self.port else ''}"


def run(entrance: Entrance, folder: Path, user: int, attempts: list[Attempt]) -> list[str]:
    """Enter, become the user (0 for no change), try everything at once; what came of each.

    Raises:
        AirlockError: where it is to be tried from cannot be entered.
    """
    enter(entrance, folder)
    if user and os.geteuid() == 0:
        os.setgroups([])
        os.setresuid(user, user, user)
    with ThreadPoolExecutor(16) as workers:
        return list(workers.map(outcome, attempts))


def outcome(attempt: Attempt) -> str:
    """Try; in one word or two what came of it."""
    try:
        return _TRY[attempt.kind](attempt)
    except TimeoutError:
        return "timed out"
    except OSError as error:
        if error.errno in (errno.ECONNREFUSED, errno.EPERM, errno.EACCES, errno.ECONNRESET):
            return "refused"
        return "no route" if error.errno in _NO_ROUTE else f"failed: {error.strerror or error}"


def _tcp(attempt: Attempt) -> str:
    try:
        socket.create_connection((attempt.host, attempt.port), TIMEOUT).close()
    except socket.gaierror:
        return "not resolved"
    return "connected"


def _udp(attempt: Attempt) -> str:
    with socket.socket(_family(attempt.host), socket.SOCK_DGRAM) as probe:
        probe.settimeout(TIMEOUT)
        probe.connect((attempt.host, attempt.port))
        probe.send(b"airlock")
    return "sent"


def _icmp(attempt: Attempt) -> str:
    family = _family(attempt.host)
    six = family == socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    head = struct.pack("!BBHHH", 128 if six else 8, 0, 0 if six else 0xF7FE, 1, 0)
    for kind in (socket.SOCK_RAW, socket.SOCK_DGRAM):
        try:
            probe = socket.socket(family, kind, protocol)
        except PermissionError:
            continue
        with probe:
            probe.sendto(head, (attempt.host, 0))
        return "sent"
    return "not tried: this user may not"


def _name(attempt: Attempt) -> str:
    try:
        socket.getaddrinfo(attempt.host, None, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return "not resolved"
    return "resolved"


def _proxied(attempt: Attempt) -> str:
    place = f"{attempt.host}:{attempt.port}"
    asked = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"
    if attempt.kind == "http":
        asked = f"GET http://{place}/ HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", attempt.proxy), TIMEOUT) as probe:
        probe.settimeout(TIMEOUT)
        probe.sendall(asked.encode())
        words = probe.recv(200).split()
    status = words[1].decode("ascii", "replace") if len(words) > 1 else "nothing"
    return f"{_DENIED}: {status}" if status == "403" else f"answered {status}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


_TRY = {"tcp": _tcp, "udp": _udp, "icmp": _icmp, "name": _name, "connect": _proxied, "http": _proxied}
