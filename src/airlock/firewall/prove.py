"""Proving what a window is: named hosts and others, tried through each protocol from where Airlock is confined."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import AirlockError, WindowError
from airlock.evidence.window import Proof, WindowRecord
from airlock.firewall import probe
from airlock.firewall.hosts import UNNAMED
from airlock.firewall.model import Entrance, Order
from airlock.firewall.probe import Attempt

MAX_HOSTS = 8  # named hosts that are tried
MAX_ADDRESSES = 4
_UNNAMED_V6 = "2001:db8::1"  # documentation: nobody's
_OTHER_PORT = 9  # discard: nobody's
_TIMEOUT = 60.0
_PR_SET_PDEATHSIG = 1
_IN = ("connected", "resolved", "answered")
_OUT = ("refused", "no route", "timed out", "not resolved", "denied", "failed")


class _Said(msgspec.Struct, frozen=True):
    outcomes: list[str] = []
    error: str = ""


def prove(order: Order, record: WindowRecord, entrance: Entrance, when: str, *, named: bool) -> list[Proof]:
    """Try what the window promises in the state ``when`` (``open`` or ``closed``).

    Args:
        named: also try the named hosts.

    Raises:
        WindowError: nothing could be tried.
    """
    if order.selection.forwards and not may_be_tried(order):
        return []
    attempts = list(unnamed(order, record, entrance))
    if named:
        attempts += named_attempts(order, record, entrance)
    outcomes = _try(order, entrance, attempts)
    return [
        Proof(when=when, attempt=attempt.words, named=attempt.named, outcome=outcome, held=held(attempt, outcome, when))
        for attempt, outcome in zip(attempts, outcomes, strict=True)
    ]


def may_be_tried(order: Order) -> bool:
    """Whether a process of this machine can be where packets are confined: not where they are containers' alone."""
    selection = order.selection
    return bool(selection.own or selection.whole or selection.users or selection.cgroups)


def held(attempt: Attempt, outcome: str, when: str) -> bool:
    """Whether an outcome is what has to come of an attempt."""
    if outcome.startswith("not tried"):
        return True
    wanted = _IN if attempt.named and when == "open" else _OUT
    return outcome.startswith(wanted)


def require(proofs: Sequence[Proof], what: str) -> None:
    """All of them held.

    Raises:
        WindowError: naming those that did not.
    """
    broken = [f"{one.attempt}: {one.outcome}" for one in proofs if not one.held]
    if broken:
        raise WindowError(f"{what}, but this was found: {'; '.join(broken)}")


def unnamed(order: Order, record: WindowRecord, entrance: Entrance) -> Iterable[Attempt]:
    """What nobody named."""
    address, _, digits = order.settings.canary.rpartition(":")
    address, port = address.strip("[]"), int(digits)
    yield Attempt(kind="tcp", host=address, port=port)
    if order.settings.backend == "hook":  # what becomes of other packets on their way cannot be seen from here
        return
    if not (entrance.cgroup or entrance.namespace or order.selection.users or order.selection.machine):
        proxy = proxy_port(entrance)
        if proxy:
            yield from _through(proxy)
        return
    yield Attempt(kind="tcp", host=_UNNAMED_V6, port=port)
    for host in (address, _UNNAMED_V6):
        yield Attempt(kind="udp", host=host, port=port)
        yield Attempt(kind="icmp", host=host)
    yield Attempt(kind="name", host=UNNAMED)
    for resolved in record.addresses[:1]:  # another port of a named host
        yield Attempt(kind="tcp", host=resolved.address, port=_OTHER_PORT)
    if proxy := proxy_port(entrance):
        yield from _through(proxy)


def named_attempts(order: Order, record: WindowRecord, entrance: Entrance) -> Iterable[Attempt]:
    """The window's own hosts: by name, and by the addresses that they had."""
    proxy = proxy_port(entrance)
    known = {resolved.name for resolved in record.addresses}
    for host in record.hosts[:MAX_HOSTS]:
        if proxy:
            yield Attempt(kind="connect", host=host.name, port=host.port, named=True, proxy=proxy)
        elif host.name in known or order.settings.backend in ("hook", "squid"):
            yield Attempt(kind="tcp", host=host.name, port=host.port, named=True)
    if proxy:
        return
    ports = {host.name: host.port for host in record.hosts}
    for version in (".", ":"):
        mine = [one for one in record.addresses if (":" in one.address) == (version == ":") and one.name in ports]
        for one in mine[:MAX_ADDRESSES]:
            yield Attempt(kind="tcp", host=one.address, port=ports[one.name], named=True)


def proxy_port(entrance: Entrance) -> int:
    """The port of the window's proxy on loopback; 0 where there is none."""
    return urlsplit(entrance.environment.get("https_proxy", "")).port or 0


def _through(proxy: int) -> Iterable[Attempt]:
    yield Attempt(kind="connect", host=UNNAMED, port=443, proxy=proxy)
    yield Attempt(kind="http", host=UNNAMED, port=80, proxy=proxy)


def _try(order: Order, entrance: Entrance, attempts: list[Attempt]) -> list[str]:
    """In a fork: a fresh interpreter would take longer to start than everything else together."""
    own = bool(entrance.cgroup or entrance.namespace)
    user = order.selection.users[0] if order.selection.users and not own else 0
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _die_with(parent)
        _in_fork(writer, order.folder, entrance, user, attempts)
    os.close(writer)
    try:
        data = _read(reader, time.monotonic() + _TIMEOUT)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        said = msgspec.json.decode(data, type=_Said)
    except msgspec.MsgspecError:
        raise WindowError("nothing could be proved: the process that was to try ended early") from None
    if said.error or len(said.outcomes) != len(attempts):
        raise WindowError(f"nothing could be proved: {said.error}")
    return said.outcomes


def _die_with(parent: int) -> None:
    """It has the keeper's files open, of which one is the lock that says that somebody keeps the window."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _in_fork(writer: int, folder: Path, entrance: Entrance, user: int, attempts: list[Attempt]) -> NoReturn:
    try:
        try:
            said = _Said(outcomes=probe.run(entrance, folder, user, attempts))
        except AirlockError as error:
            said = _Said(error=error.message)
        os.write(writer, msgspec.json.encode(said))
    finally:
        os._exit(0)


def _read(reader: int, deadline: float) -> bytes:
    data = bytearray()
    while select.select([reader], [], [], max(deadline - time.monotonic(), 0))[0]:
        if not (piece := os.read(reader, 1 << 16)):
            break
        data += piece
    return bytes(data)
