"""An event loop in a thread of its own: it goes on while the caller waits for a program (apt, uv) that talks to it.

Callers that know no event loop hand their work to it as well (``run``), from any number of threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """A running event loop elsewhere."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._wait(),), name="airlock-background", daemon=True
        )
        self._thread.start()
        self._ready.wait()

    async def _wait(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._ready.set()
        await self._end.wait()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` there and wait for what it returns or raises."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The same for a thread without an event loop, which is blocked so long."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stop(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


@asynccontextmanager
async def background() -> AsyncIterator[Background]:
    """A loop in the background for as long as the context lasts."""
    loop = Background()
    try:
        yield loop
    finally:
        loop.stop()
