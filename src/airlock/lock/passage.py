"""How ``lock`` and ``refresh`` get out: inside a firewall window where one is configured, and with a record anyway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from airlock.core.errors import AirlockError, UpstreamError, WindowError
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.evidence.ledger import current_user, utc_now
from airlock.evidence.window import WindowRecord
from airlock.fetch.named import Named, through
from airlock.firewall import none
from airlock.firewall.confine import Outside, enter
from airlock.firewall.hosts import Wanted, wanted
from airlock.firewall.model import Entrance
from airlock.firewall.nftables import entrance, require_table
from airlock.firewall.opened import Opened
from airlock.firewall.selection import may_confine, select
from airlock.firewall.window import (
    dismiss,
    make_order,
    no_window,
    open_window,
    order_for,
    share,
    start_keeper,
    table_name,
)

T = TypeVar("T")
_LOOK = 0.5  # seconds between looks whether the window is still open
_AGAIN = "Run the same command again: what has arrived is kept."


class Passage:
    """One run of a verb; a context manager. Opens nothing until ``admit`` is called.

    Args:
        verb: ``lock`` or ``refresh``.
        reason: why; goes into record and ledger.
        lock: digest of the lock that is fetched, where it is known.

    Attributes:
        factory: to work with while a window may be open: its downloads know which hosts are named.
        windows: ids of the windows so far.
    """

    def __init__(self, factory: Factory, verb: str, reason: str, reporter: Reporter, *, lock: str = "") -> None:
        self._settings = factory.settings
        self._verb, self._reason, self._reporter, self._lock = verb, reason, reporter, lock
        self._named = Named()
        fetch = through(factory.settings.fetch, self._named)
        self.factory = msgspec.structs.replace(factory, settings=msgspec.structs.replace(factory.settings, fetch=fetch))
        self.windows: list[str] = []
        self._opened: Opened | None = None
        self._places: frozenset[tuple[str, int]] = frozenset()
        self._inside = False
        self._outside: Outside | None = None
        self._without: WindowRecord | None = None
        self._waiting: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Passage:
        if self._settings.window.backend != "none":
            self._waiting = start_keeper(self.factory)  # while it starts, the verb finds out what it is to fetch
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._waiting is not None:
            dismiss(self._waiting)
        if self._without is not None:
            self._without.closed = utc_now()
            self._without.save(self.factory.windows)
        if kind is None:
            self._close("the command is done")
            return
        with contextlib.suppress(AirlockError):  # what went wrong first is what is told
            self._close(f"the command ended early ({kind.__name__})")

    def admit(self, addresses: Mapping[str, str]) -> None:
        """Upstreams are about to be asked: open (or share) a window for their hosts, and enter it. Before any thread,
        the first time.

        Raises:
            AirlockError: see ``firewall.window.open_window``.
        """
        if self._settings.window.backend == "none":
            self._go_without(addresses)
            return
        asked = wanted(addresses, self._settings)
        self._named.become(asked.named, addresses)
        if not asked.hosts or asked.places <= self._places:
            if not self._opened and not asked.hosts:
                self._reporter.say("every upstream is on this machine: no window is opened")
                self._stay()
            return
        self._close("further upstreams became known")
        self._open(asked)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, for as long as the window is open.

        Raises:
            WindowError: it closed before the work was done.
            AirlockError: whatever the work raises; with the names that the window refused.
        """
        try:
            return asyncio.run(self._while_open(work))
        except UpstreamError as error:
            self._explain(error)
            raise

    async def _while_open(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work)
        while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
            if (ended := self._ended()) is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, AirlockError):
                    await task
                raise _cut(ended)
        try:
            return task.result()
        except UpstreamError as error:
            await asyncio.sleep(_LOOK)  # whoever keeps the window may not have noticed yet that it is over
            if (ended := self._ended()) is not None:
                raise _cut(ended, error.message) from None
            raise

    def _ended(self) -> WindowRecord | None:
        if self._opened is None:
            return None
        try:
            return self._opened.ended()
        except WindowError:
            return self._opened.record

    def _open(self, asked: Wanted) -> None:
        settings = self._settings.window
        shared = share(self.factory, asked, self._reporter.say)
        if shared is None:
            minutes = settings.minutes
            order = make_order(
                self.factory, asked, verb=self._verb, reason=self._reason, requester=current_user(), lock=self._lock
            )
            if settings.backend == "nftables" and not may_confine(order.selection) and not order.selection.forwards:
                raise WindowError(
                    f"this command runs as user {os.geteuid()}, whose traffic the window does not confine",
                    remedy=f"Run it as the user that [window] confine names ({', '.join(settings.confine)}).",
                )
            names = ", ".join(f"{host.name}:{host.port}" for host in asked.hosts)
            self._reporter.say(f"window: {settings.backend} opens {names} for at most {minutes:g} minutes")
            keeper, self._waiting = self._waiting, None
            shared = open_window(self.factory, order, outside=self._outside, keeper=keeper)
        else:
            self._reporter.say(f"window: {shared.record.id} is open, until {shared.record.until}")
        self._opened, self._places = shared, asked.places
        self.windows.append(shared.record.id)
        if self._inside:
            os.environ.update(shared.entrance.environment)
            return
        self._enter(shared.entrance)

    def _stay(self) -> None:
        """Nothing is to be opened yet. A network namespace is entered all the same: threads that are started before
        would stay outside when it is opened.
        """
        table = self._settings.window
        if self._inside or table.backend != "nftables":
            return
        selection = select(table.confine, table_name(self.factory))
        if selection.namespace:
            require_table(order_for(self.factory, no_window(table.backend), selection))
            self._enter(entrance(selection, resolver=True))

    def _enter(self, way: Entrance) -> None:
        self._outside = Outside()
        enter(way, self.factory.state / "window")
        self._inside = True
        with contextlib.suppress(RuntimeError):  # no loop is running
            # Idle threads are outside of the namespace, and whatever they start is: they get no further work.
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    def _close(self, why: str) -> None:
        opened, self._opened, self._places = self._opened, None, frozenset()
        if opened is None or not opened.own:
            return
        record = opened.close(why)
        sent = sum(contact.received for contact in record.contacts)
        refused = sum(attempt.count for attempt in record.refused)
        self._reporter.say(
            f"window: {record.id} closed at {record.closed}, proved; {sent / 1e6:,.1f} MB came in, {refused} refused"
        )

    def _explain(self, error: UpstreamError) -> None:
        """Name what the window refused; the error stays what it is."""
        opened = self._opened
        if opened is None or not opened.own:
            return
        with contextlib.suppress(AirlockError):
            self._close("an upstream failed")
        if names := opened.record.refused_names[:5]:
            listed = ", ".join(f'"{name}"' for name in names)
            error.message += f"\nthe window refused what it does not name: {', '.join(names)}"
            error.remedy = f"If they belong to an upstream, add them in factory.toml: [window] hosts = [{listed}]"

    def _go_without(self, addresses: Mapping[str, str]) -> None:
        hosts = none.hosts(addresses)
        if self._without is not None:
            self._without.hosts = hosts
            return
        now = datetime.now(UTC)
        self._without = WindowRecord(
            id=f"w-{now.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(3)}",
            state="none",
            backend="none",
            why=none.why(self._settings.window),
            hosts=hosts,
            verb=self._verb,
            lock=self._lock,
            reason=self._reason,
            requester=current_user(),
            user=current_user(),
            machine=os.uname().nodename,
            opened=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            cannot_prove=list(none.CANNOT_PROVE),
        )
        self.windows.append(self._without.id)


def _cut(record: WindowRecord, more: str = "") -> WindowError:
    by = record.closed_by or "whoever kept it was killed"
    words = f"the window {record.id} closed before the work was done (by {by})"
    return WindowError(f"{words}{f': {more}' if more else ''}", remedy=_AGAIN)
