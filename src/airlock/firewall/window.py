"""Windows from outside: ordering one, what is open now, closing it, and setting the record straight after a kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from airlock.core.digest import sha256_bytes
from airlock.core.errors import AirlockError, StateError, UsageError, WindowError
from airlock.core.files import exclusive
from airlock.core.settings import Factory
from airlock.evidence import ledger
from airlock.evidence.ledger import current_user, utc_now
from airlock.evidence.window import WindowRecord, read_window, read_windows
from airlock.firewall.backends import make_backend
from airlock.firewall.confine import Outside
from airlock.firewall.hosts import Wanted
from airlock.firewall.keeper import CLOSE, ENTRANCE, LOCK
from airlock.firewall.model import Entrance, Order
from airlock.firewall.opened import Opened, error_of, hear
from airlock.firewall.selection import Selection, select

BOOT = Path("/proc/sys/kernel/random/boot_id")
_STARTING = 60.0  # seconds that a window may take to open
_CLOSING = 90.0
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def make_order(
    factory: Factory, wanted: Wanted, *, verb: str, reason: str, requester: str, minutes: float = 0, lock: str = "",
    attached: bool = True,
) -> Order:  # fmt: skip
    """What a window is to be.

    Raises:
        UsageError: no reason, no requester, no host, or longer than the site allows.
        ToolError, WindowError: this machine cannot confine what is to be confined.
    """
    settings = factory.settings.window
    minutes = minutes or settings.minutes
    if not reason.strip() or not requester.strip():
        raise UsageError("a window wants a reason and whoever asks for it", remedy="--reason TEXT --requester WHO")
    if minutes > settings.max_minutes:
        raise UsageError(
            f"{minutes:g} minutes are asked for, and this factory allows {settings.max_minutes:g}",
            remedy="Ask for less; the bound is [window] max_minutes in factory.toml.",
        )
    if not wanted.hosts:
        raise UsageError("no host is named that a window could be opened for", remedy="[window] hosts in factory.toml.")
    now = datetime.now(UTC)
    selection = Selection() if settings.backend == "hook" else select(settings.confine, table_name(factory))
    record = WindowRecord(
        id=f"w-{now.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(3)}",
        state="open",
        backend=settings.backend,
        confined=[] if settings.backend == "hook" else list(settings.confine),
        hosts=list(wanted.hosts),
        verb=verb,
        lock=lock,
        reason=reason.strip(),
        requester=requester.strip(),
        user=current_user(),
        machine=os.uname().nodename,
        seconds=round(minutes * 60, 3),
        opened=now.strftime(_TIME),
        until=(now + timedelta(minutes=minutes)).strftime(_TIME),
        boot=BOOT.read_text().strip(),
        notes=list(wanted.notes),
    )
    return order_for(factory, record, selection, attached=attached, local=wanted.local)


def order_for(
    factory: Factory, record: WindowRecord, selection: Selection, *, attached: bool = False,
    local: frozenset[int] = frozenset(),
) -> Order:  # fmt: skip
    """The order that a record is of."""
    return Order(
        root=str(factory.root), record=record, settings=factory.settings.window, selection=selection,
        table=table_name(factory), attached=attached, local=local,
    )  # fmt: skip


def no_window(backend: str) -> WindowRecord:
    """A record of nothing: what an order is of where no window was opened yet."""
    return WindowRecord(
        id="w-none", state="closed", backend=backend, verb="", reason="", requester="", user="", machine="", opened=""
    )


def table_name(factory: Factory) -> str:
    """The factory's own table, and control group: one, by whatever path the factory is named."""
    return f"airlock-{sha256_bytes(str(factory.root.resolve()).encode())[:8]}"


def start_keeper(factory: Factory, outside: Outside | None = None) -> subprocess.Popen[bytes]:
    """The process that will keep a window, waiting for its order: it takes a while to start. Without an order it ends
    with the pipe that it waits at.

    Args:
        outside: where this process was before it entered an earlier window.
    """
    folder = factory.state / "window"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "keeper.log").open("ab") as log:
        return subprocess.Popen(
            [*(outside.words() if outside else []), sys.executable, "-P", "-m", "airlock.firewall.keeper"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd="/", start_new_session=True,
            env=outside.environment if outside else None,
        )  # fmt: skip


def dismiss(process: subprocess.Popen[bytes]) -> None:
    """End a keeper that nobody has given an order, or that did not answer to it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.kill()
    process.wait()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()


def open_window(
    factory: Factory, order: Order, *, outside: Outside | None = None, keeper: subprocess.Popen[bytes] | None = None
) -> Opened:
    """Open one and wait until it is.

    Args:
        outside: where this process was before it entered an earlier one.
        keeper: one that waits already.

    Raises:
        StateError: one is open already.
        AirlockError: it could not be opened; nothing was left open.
    """
    if (now := current(factory)) is not None:
        raise StateError(
            f"the window {now.id} is open already, until {now.until} ({now.verb}: {now.reason}, {now.requester})",
            remedy="Wait for its end, or close it: airlock window close --reason …",
        )
    process = keeper or start_keeper(factory, outside)
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it was killed; it says nothing then
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        process.stdin.flush()
    told = hear(process, _STARTING)
    if told is None or told.event != "open" or told.record is None or told.entrance is None:
        dismiss(process)
        recover(factory)
        if told is None:
            raise WindowError("whoever was to keep the window ended at once", remedy=f"See {order.folder}/keeper.log.")
        raise error_of(told)
    if not order.attached:
        process.stdin.close()
        process.stdout.close()
        process.returncode = 0  # it goes on without us
        return Opened(told.record, told.entrance, None)
    return Opened(told.record, told.entrance, process)


def current(factory: Factory) -> WindowRecord | None:
    """The record of the window that is open now; what was left by a kill is closed first."""
    recover(factory)
    return next((record for record in read_windows(factory.windows) if record.state == "open"), None)


def share(factory: Factory, wanted: Wanted, wait: Callable[[str], None]) -> Opened | None:
    """The window that somebody else has opened, where it names all that is wanted. Where it names less, wait for its
    end: it is never widened.

    Args:
        wait: told why, once.
    """
    told = False
    while (now := current(factory)) is not None:
        missing = wanted.places - {(host.name, host.port) for host in now.hosts}
        place = factory.state / "window" / ENTRANCE
        if not missing and place.exists():
            return Opened(now, msgspec.json.decode(place.read_bytes(), type=Entrance), None)
        if not told:
            names = ", ".join(f"{name}:{port}" for name, port in sorted(missing))
            wait(f"waiting for the end of the window {now.id} ({now.until}), which names less: {names}")
            told = True
        time.sleep(0.3)
    return None


def close_window(factory: Factory, *, reason: str, requester: str) -> WindowRecord | None:
    """Close what is open now; afterwards nothing is, whatever was. None where nothing was.

    Raises:
        WindowError: it does not close.
    """
    now = current(factory)
    if now is None:
        return None
    folder = factory.state / "window"
    (folder / CLOSE).write_bytes(msgspec.json.encode({"reason": reason, "requester": requester}))
    with contextlib.suppress(OSError, ValueError):
        os.kill(int((folder / LOCK).read_text()), signal.SIGTERM)
    deadline = time.monotonic() + _CLOSING
    path = factory.windows / f"{now.id}.json"
    while kept(factory):
        if time.monotonic() > deadline:
            raise WindowError(f"the window {now.id} does not close", remedy=f"See {folder}/keeper.log.")
        time.sleep(0.05)
    record = read_window(path.read_bytes(), str(path))
    if record.state == "open":
        recover(factory)
        record = read_window(path.read_bytes(), str(path))
    if broken := [note for note in record.notes if note.startswith("closing: ")]:
        raise WindowError(f"the window {record.id}: {broken[-1].removeprefix('closing: ')}")
    return record


def kept(factory: Factory) -> bool:
    """Whether a keeper is alive: it holds a lock that the kernel drops with it."""
    place = factory.state / "window" / LOCK
    if not place.exists():
        return False
    try:
        with exclusive(place, "the window"):
            return False
    except StateError:
        return True


def recover(factory: Factory) -> list[WindowRecord]:
    """Close what a killed keeper or a machine that was switched off left, and say so in record and ledger."""
    if kept(factory):
        return []
    done = []
    for record in read_windows(factory.windows):
        if record.state == "open":
            _straighten(factory, record)
            done.append(record)
    return done


def _straighten(factory: Factory, record: WindowRecord) -> None:
    rebooted = record.boot != BOOT.read_text().strip()
    record.closed = min(record.until, utc_now())
    record.closed_by = "the machine's restart" if rebooted else "the kernel: whoever kept it was killed"
    try:
        selection = Selection() if record.backend == "hook" else select(record.confined, table_name(factory))
        backend = make_backend(order_for(factory, record, selection))
        if not rebooted:
            backend.tell(record)
        with ThreadPoolExecutor(1) as worker:  # the caller may be in an event loop
            worker.submit(asyncio.run, backend.close()).result()
    except AirlockError as error:
        record.notes.append(f"closing: {error.message}")
    record.state = "closed"
    digest = record.save(factory.windows)
    facts = {"window": record.id, "backend": record.backend, "closed_by": record.closed_by, "record": digest}
    ledger.append(factory.ledger, "window-close", facts | {"reason": record.reason, "requester": record.requester})
    (factory.state / "window" / ENTRANCE).unlink(missing_ok=True)
