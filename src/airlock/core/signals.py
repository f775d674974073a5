"""Being asked to end: SIGTERM (from Zuul, systemd, kill) does what Ctrl-C does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def ended_by_term(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; the first SIGTERM cancels it, further ones are passed over, since it may be cleaning up."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    asked = False

    def end() -> None:
        nonlocal asked
        if not asked:
            asked = True
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, end)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
