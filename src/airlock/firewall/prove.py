"""Proving what a window is: named hosts and others, tried through each protocol from where Airlock is confined."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import WindowError
from airlock.evidence.window import Proof, WindowRecord
from airlock.firewall.hosts import UNNAMED
from airlock.firewall.model import Entrance, Order
from airlock.firewall.probe import Attempt, Trial

MAX_HOSTS = 8  # named hosts that are tried
MAX_ADDRESSES = 4
_UNNAMED_V6 = "2001:db8::1"  # documentation: nobody's
_OTHER_PORT = 9  # discard: nobody's
_TIMEOUT = 60.0
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
    own = bool(entrance.cgroup or entrance.namespace)
    user = order.selection.users[0] if order.selection.users and not own else 0
    order.folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(entrance=entrance, attempts=attempts, folder=str(order.folder), user=user)
    command = [sys.executable, "-P", "-m", "airlock.firewall.probe"]
    try:
        result = subprocess.run(
            command, input=msgspec.json.encode(trial), capture_output=True, timeout=_TIMEOUT, check=False, cwd="/"
        )
        said = msgspec.json.decode(result.stdout, type=_Said)
    except subprocess.TimeoutExpired:
        raise WindowError(f"the proof did not come to its end within {_TIMEOUT:.0f} s") from None
    except msgspec.MsgspecError:
        words = result.stderr.decode("utf-8", "replace").strip()[-500:]
        raise WindowError(f"nothing could be proved: {words or result.returncode}") from None
    if said.error or len(said.outcomes) != len(attempts):
        raise WindowError(f"nothing could be proved: {said.error}")
    return said.outcomes
