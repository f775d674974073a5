from __future__ import annotations

import asyncio
import os
import signal

import pytest

from airlock.core.signals import ended_by_term


async def test_work_that_is_not_disturbed_gives_its_result():
    async def work() -> int:
        return 7

    assert await ended_by_term(work()) == 7


async def test_sigterm_cancels_the_work_once_and_lets_it_clean_up():
    cleaned = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(30)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # whoever asks again must not break off the cleaning
            await asyncio.sleep(0.05)
            cleaned.append(True)

    with pytest.raises(asyncio.CancelledError):
        await ended_by_term(work())
    assert cleaned


def test_a_work_that_says_so_is_interrupted_as_by_ctrl_c():
    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(ended_by_term(work()))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
