"""The process that keeps a window: it opens, answers for names, closes when the time is over, and writes the record.

It stands outside of what is confined, and is nobody's child that matters: when it is killed, the kernel closes. When
whoever ordered an attached window dies, its end of the pipe closes, and so does the window.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from airlock.core.errors import AirlockError, StateError, WindowError
from airlock.core.files import exclusive
from airlock.evidence import ledger
from airlock.evidence.ledger import utc_now
from airlock.evidence.window import WindowRecord
from airlock.firewall.backends import make_backend
from airlock.firewall.model import Backend, Entrance, Order
from airlock.firewall.prove import prove, require

TICK = 1.0  # seconds between looks at names and proxies
BEFORE_END = 0.5  # seconds before the stated end that the keeper closes: the kernel's end is the last word
LOCK = "keeper.lock"
ENTRANCE = "entrance.json"
CLOSE = "close.json"
_LOOKS = 20


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the keeper tells whoever ordered the window, a line each: once it is open or is not, once it is closed."""

    event: str
    record: WindowRecord | None = None
    entrance: Entrance | None = None
    error: str = ""
    message: str = ""
    remedy: str = ""


class Keeper:
    """One window from its opening to its end."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._record = order.record
        self._windows = Path(order.root) / "windows"
        self._ledger = Path(order.root) / "ledger.jsonl"
        self._ending = asyncio.Event()
        self._by = ""

    async def keep(self) -> None:
        """See the module."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, "")
        await self._listen()
        backend = make_backend(self._order)
        ends = loop.time() + self._record.seconds
        self._record.opened = utc_now()
        self._record.save(self._windows)
        try:
            await asyncio.sleep(0)  # whoever ordered it may be dead by now
            if self._ending.is_set():
                raise WindowError(f"it was not opened: {self._by}")
            entrance = await backend.open(self._record.seconds)
            self._record.proof = await self._proved(entrance)
        except AirlockError as error:
            await self._give_up(backend, error)
            raise
        with contextlib.suppress(AirlockError):
            backend.begin()
            backend.tell(self._record)
        self._record.save(self._windows)
        self._note("window-open", self._facts() | {"until": self._record.until})
        entry = self._order.folder / ENTRANCE
        entry.write_bytes(msgspec.json.encode(entrance))
        _tell(Told(event="open", record=self._record, entrance=entrance))
        await self._until(ends - BEFORE_END, backend)
        await self._close(backend, entrance)
        entry.unlink(missing_ok=True)

    async def _proved(self, entrance: Entrance) -> list[Any]:
        proofs = await asyncio.to_thread(prove, self._order, self._record, entrance, "open", named=False)
        require(proofs, "whatever was not named should be refused")
        return proofs

    async def _until(self, ends: float, backend: Backend) -> None:
        loop = asyncio.get_running_loop()
        while not self._ending.is_set():
            left = ends - loop.time()
            if left <= 0:
                self._end("the end of its time")
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), min(TICK, left))
            try:
                if not self._ending.is_set():
                    await backend.tend()
            except AirlockError as error:
                self._record.notes.append(error.message)
                self._end(f"a fault: {error.message}")

    async def _close(self, backend: Backend, entrance: Entrance) -> None:
        record, trouble = self._record, ""
        try:
            with contextlib.suppress(AirlockError):
                backend.tell(record)  # while whoever counts is still there
            await backend.close()
            record.closed = utc_now()
            proofs = await asyncio.to_thread(prove, self._order, record, entrance, "closed", named=True)
            record.proof += proofs
            require(proofs, "the window is closed")
            backend.begin()
            if backend.is_open():
                trouble = "after closing, the backend says that it is open"
        except AirlockError as error:
            trouble = error.message
        record.closed = record.closed or utc_now()
        record.closed_by, record.state = self._by, "closed"
        if trouble:
            record.notes.append(f"closing: {trouble}")
        digest = record.save(self._windows)
        self._note("window-close", self._facts() | {"closed_by": self._by, "record": digest})
        _tell(Told(event="closed", record=record, error="WindowError" if trouble else "", message=trouble))

    async def _give_up(self, backend: Backend, error: AirlockError) -> None:
        with contextlib.suppress(AirlockError):
            await backend.close()
        self._record.state, self._record.closed = "closed", utc_now()
        self._record.closed_by = f"it could not be opened: {error.message}"
        digest = self._record.save(self._windows)
        self._note("window-close", self._facts() | {"closed_by": self._record.closed_by, "record": digest})

    def _facts(self) -> dict[str, Any]:
        record = self._record
        return {
            "window": record.id,
            "backend": record.backend,
            "hosts": [f"{host.name}:{host.port}" for host in record.hosts],
            "reason": record.reason,
            "requester": record.requester,
        }

    def _note(self, verb: str, facts: dict[str, Any]) -> None:
        ledger.append(self._ledger, verb, facts)

    def _end(self, by: str) -> None:
        if not self._by:
            asked = self._order.folder / CLOSE
            with contextlib.suppress(OSError, msgspec.MsgspecError):
                words = msgspec.json.decode(asked.read_bytes(), type=dict[str, str])
                by = by or f"`airlock window close` by {words['requester']}: {words['reason']}"
            asked.unlink(missing_ok=True)
            self._by = by or "a signal"
        self._ending.set()

    async def _listen(self) -> None:
        """Hear from whoever ordered the window: a line is the reason to close; the end of the pipe, its death."""
        if not self._order.attached:
            return
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)

        async def hear() -> None:
            line = await reader.readline()
            words = line.decode("utf-8", "replace").strip()
            self._end(words or f"the death of the command that it was opened for ({self._record.verb})")

        self._hearing = asyncio.get_running_loop().create_task(hear())


def _tell(told: Told) -> None:
    with contextlib.suppress(BrokenPipeError, OSError):
        os.write(sys.stdout.fileno(), msgspec.json.encode(told) + b"\n")


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold the keeper's lock; whoever only looks whether it is held has it for a moment."""
    for attempt in range(_LOOKS):
        held = exclusive(path, "the window")
        try:
            held.__enter__()
        except StateError:
            if attempt == _LOOKS - 1:
                raise
            time.sleep(0.05)
            continue
        try:
            yield
        finally:
            held.__exit__(None, None, None)
        return


def main() -> None:
    """Read the order from standard input, its first line; keep the window."""
    with open(0, "rb", buffering=0, closefd=False) as stream:
        data = bytearray()
        while not data.endswith(b"\n") and (piece := stream.read(1)):
            data += piece
    if not data:
        return  # nothing had to be opened
    order = msgspec.json.decode(data, type=Order)
    order.folder.mkdir(parents=True, exist_ok=True)
    (order.folder / CLOSE).unlink(missing_ok=True)
    try:
        with _only_one(order.folder / LOCK):
            (order.folder / LOCK).write_text(str(os.getpid()))
            asyncio.run(Keeper(order).keep())
    except StateError as error:
        _tell(Told(event="error", error="StateError", message=error.message, remedy=error.remedy))
    except AirlockError as error:
        _tell(Told(event="error", error=type(error).__name__, message=error.message, remedy=error.remedy))


if __name__ == "__main__":
    main()
