"""When a keeper closes: by its own count of seconds, and when what it keeps is not there any more."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from airlock.core.errors import WindowError
from airlock.core.settings import WindowTable
from airlock.evidence.window import OpenHost, WindowRecord, read_windows
from airlock.firewall import keeper
from airlock.firewall.model import Entrance, Order
from airlock.firewall.selection import Selection


class Backend:
    """A firewall of the test's own: what a keeper does with it is what is looked at."""

    def __init__(self, broken: str) -> None:
        self.broken, self.opened = broken, False

    async def open(self, seconds: float) -> Entrance:
        self.opened = True
        return Entrance()

    async def tend(self) -> None:
        if self.broken:
            raise WindowError(self.broken)

    def begin(self) -> None: ...

    async def close(self) -> None:
        self.opened = False

    def is_open(self) -> bool:
        return self.opened

    def tell(self, record: WindowRecord) -> None: ...


def kept(tmp_path, monkeypatch, seconds: float, broken: str = "") -> tuple[WindowRecord, float]:
    """The record of a window, and how long it was kept."""
    backend = Backend(broken)
    monkeypatch.setattr(keeper, "make_backend", lambda order: backend)
    monkeypatch.setattr(keeper, "prove", lambda *words, **more: [])
    monkeypatch.setattr(keeper, "_tell", lambda told: None)
    record = WindowRecord(
        id="w-20240501T100000Z-abcdef", state="open", backend="nftables", verb="refresh", reason="why",
        requester="ada", user="root", machine="factory", opened="2024-05-01T10:00:00Z", seconds=seconds,
        hosts=[OpenHost(name="a.example.org", port=443)],
    )  # fmt: skip
    order = Order(
        root=str(tmp_path), record=record, settings=WindowTable(), selection=Selection(), table="t", attached=False
    )
    order.folder.mkdir(parents=True)
    began = time.monotonic()
    asyncio.run(keeper.Keeper(order).keep())
    assert not backend.opened
    (written,) = read_windows(tmp_path / "windows")
    return written, time.monotonic() - began


def test_a_calendar_that_jumps_changes_nothing(tmp_path, monkeypatch):
    years = itertools.cycle(["2038-01-19T03:14:08Z", "1970-01-01T00:00:00Z", "2024-05-01T10:00:00Z"])
    monkeypatch.setattr(keeper, "utc_now", lambda: next(years))
    record, took = kept(tmp_path, monkeypatch, seconds=1.5)
    assert (record.state, record.closed_by) == ("closed", "the end of its time")
    assert 1.0 <= took < 30


def test_what_is_not_there_any_more_is_closed_at_once(tmp_path, monkeypatch):
    record, took = kept(tmp_path, monkeypatch, seconds=600, broken="the rules were removed")
    assert record.state == "closed"
    assert record.closed_by == "a fault: the rules were removed"
    assert took < 60


@pytest.mark.parametrize("seconds", [0.1, keeper.BEFORE_END])
def test_a_window_of_no_time_is_closed_as_soon_as_it_is_open(tmp_path, monkeypatch, seconds):
    record, took = kept(tmp_path, monkeypatch, seconds)
    assert (record.state, record.closed_by) == ("closed", "the end of its time")
    assert took < 30
