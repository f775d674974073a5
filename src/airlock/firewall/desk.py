"""What ``airlock window`` does: one function an action."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from airlock.core.digest import sha256_file
from airlock.core.errors import AirlockError, ToolError, UsageError
from airlock.core.files import write_file
from airlock.core.settings import Factory
from airlock.evidence import ledger
from airlock.evidence.window import Proof, WindowRecord, read_windows
from airlock.firewall import hosts, none
from airlock.firewall.backends import make_backend, nothing_to_open
from airlock.firewall.hosts import Wanted
from airlock.firewall.keeper import ENTRANCE
from airlock.firewall.model import Entrance, Order
from airlock.firewall.nft import Nft, TableState
from airlock.firewall.nftables import entrance, require_table, tell_counters
from airlock.firewall.prove import prove, require
from airlock.firewall.report import page
from airlock.firewall.selection import Selection, select
from airlock.firewall.window import (
    close_window,
    current,
    make_order,
    no_window,
    open_window,
    order_for,
    recover,
    table_name,
)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """See ``status``.

    Attributes:
        open: the window that is open.
        rules: what the kernel says of the table, in words.
        straightened: what a kill had left.
        checked: whether the records are those that the ledger names.
    """

    backend: str
    confined: list[str]
    open: WindowRecord | None
    closed_now: str
    rules: str
    straightened: list[str]
    records: int
    folder: str
    checked: str


def asked(factory: Factory, addresses: Mapping[str, str], texts: Sequence[str]) -> Wanted:
    """The hosts of the upstreams in use, or those of them that were named.

    Raises:
        UsageError: there is no backend; see ``hosts.wanted`` and ``hosts.only``.
    """
    if factory.settings.window.backend == "none":
        raise nothing_to_open()
    found = hosts.wanted(addresses, factory.settings)
    return hosts.only(found, texts) if texts else found


def order(factory: Factory, wanted: Wanted, *, reason: str, requester: str, minutes: float) -> Order:
    """A window by hand: it stays open when the command has ended.

    Raises:
        AirlockError: see ``window.make_order``.
    """
    return make_order(
        factory, wanted, verb="by hand", reason=reason, requester=requester, minutes=minutes, attached=False
    )


def announce(order: Order) -> list[str]:
    """What will be open and until when, before it is."""
    record = order.record
    return [
        f"will open {', '.join(f'{host.name}:{host.port}' for host in record.hosts)}",
        f"until     {record.until} at the latest ({record.seconds / 60:g} minutes), by {record.backend}"
        + (f" for {', '.join(record.confined)}" if record.confined else ""),
    ]


def open_by_hand(factory: Factory, order: Order) -> WindowRecord:
    """Open it.

    Raises:
        AirlockError: see ``window.open_window``.
    """
    return open_window(factory, order).record


def close(factory: Factory, *, reason: str, requester: str) -> WindowRecord | None:
    """Close whatever is open; and where nothing is, see that what is to be confined is (after a reboot, say).

    Raises:
        AirlockError: it cannot be closed.
    """
    closed = close_window(factory, reason=reason, requester=requester)
    settings = factory.settings.window
    if settings.backend in ("nftables", "squid"):
        require_table(_now(factory, closed))
    elif settings.backend == "hook" and closed is None:
        _run_close(_now(factory, None))
    return closed


def unopened(factory: Factory) -> str:
    """What it means that no window was open to be closed."""
    match factory.settings.window.backend:
        case "none":
            return "no window is configured: nothing was open, and nothing is confined"
        case "hook":
            return "nothing was open; the hook was told to close, and says that it is"
    return "nothing was open; what is confined stays confined"


def status(factory: Factory) -> Status:
    """What is open, as the records and the kernel say; what a kill left is closed first."""
    left = [f"{record.id}: closed by {record.closed_by}" for record in recover(factory)]
    settings = factory.settings.window
    records = read_windows(factory.windows)
    now = current(factory)
    state = _table(factory)
    if now is not None and isinstance(state, TableState):
        tell_counters(now, state)
    return Status(
        backend=settings.backend,
        confined=list(settings.confine) if settings.backend in ("nftables", "squid") else [],
        open=now,
        closed_now=none.why(settings) if settings.backend == "none" else "",
        rules=_rules(factory, state),
        straightened=left,
        records=len(records),
        folder=str(factory.windows),
        checked=check(factory, records),
    )


def test(factory: Factory) -> list[Proof]:
    """Try the window as it is: named hosts and others, through each protocol.

    Raises:
        UsageError: there is no backend, or nothing that can be tried from here.
        WindowError: nothing could be tried.
    """
    now = current(factory)
    order = _now(factory, now)
    make_backend(order)
    place = factory.state / "window" / ENTRANCE
    way = entrance(order.selection, resolver=settings_resolve(factory))
    if now is not None and place.exists():
        way = msgspec.json.decode(place.read_bytes(), type=Entrance)
    proofs = prove(order, order.record, way, "open" if now else "closed", named=True)
    if not proofs:
        raise UsageError(
            "nothing can be tried from here: what is confined are the packets of containers alone",
            remedy="Try a host that is not named from inside of one: it must be refused.",
        )
    return proofs


def require_held(proofs: Sequence[Proof]) -> None:
    """See ``prove.require``."""
    require(proofs, "the window should let named hosts pass while it is open, and nothing else ever")


def report(folder: Path, output: Path, factory: Factory) -> int:
    """Write the page about all windows; returns how many they are.

    Raises:
        FormatError: a record cannot be read.
    """
    records = read_windows(folder)
    words = check(factory, records) if folder == factory.windows else f"records of {folder}"
    write_file(output, page(records, words).encode())
    return len(records)


def check(factory: Factory, records: Sequence[WindowRecord]) -> str:
    """Whether the closed windows' records are those that the ledger names, in words."""
    named: dict[str, str] = {}
    try:
        for entry in ledger.entries(factory.ledger):
            if entry.verb == "window-close":
                named[str(entry.data.get("window"))] = str(entry.data.get("record"))
    except AirlockError as error:
        return f"the ledger cannot be believed: {error.message}"
    changed = [
        record.id
        for record in records
        if record.id in named and sha256_file(factory.windows / f"{record.id}.json")[0] != named[record.id]
    ]
    gone = sorted(set(named) - {record.id for record in records})
    if changed or gone:
        return f"NOT what the ledger says: changed {', '.join(changed) or 'none'}; gone {', '.join(gone) or 'none'}"
    return "as the ledger says"


def settings_resolve(factory: Factory) -> bool:
    """Whether names are the window's resolver's business."""
    return factory.settings.window.backend == "nftables"


def _now(factory: Factory, record: WindowRecord | None) -> Order:
    """The order of the window that is open, or of the last one, or of one that names nothing."""
    settings = factory.settings.window
    selection = Selection() if settings.backend in ("hook", "none") else select(settings.confine, table_name(factory))
    known = record or next(
        (one for one in reversed(read_windows(factory.windows)) if one.backend == settings.backend),
        no_window(settings.backend),
    )
    return order_for(factory, known, selection)


def _table(factory: Factory) -> TableState | AirlockError | None:
    settings = factory.settings.window
    if settings.backend not in ("nftables", "squid"):
        return None
    try:
        return Nft(select(settings.confine, table_name(factory))).state(table_name(factory))
    except ToolError as error:
        return error


def _rules(factory: Factory, state: TableState | AirlockError | None) -> str:
    if factory.settings.window.backend not in ("nftables", "squid"):
        return ""
    table = table_name(factory)
    if isinstance(state, AirlockError):
        return f"unknown: {state.message}"
    if state is None:
        return f"there is no table inet {table}: nothing is confined (`airlock window close` loads it)"
    gate = "closed" if state.gate is None else f"open for {state.gate} s more, {len(state.places)} addresses"
    if factory.settings.window.backend == "squid":
        gate = "the way to a window's proxy alone"
    return f"table inet {table}: {gate}; {state.packets} packets refused"


def _run_close(order: Order) -> None:
    asyncio.run(make_backend(order).close())
