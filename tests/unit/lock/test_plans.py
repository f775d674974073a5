"""Plans that come out of a thread, and those who wait for them."""

from __future__ import annotations

import asyncio

from airlock.lock.apt_resolver import AptResult
from airlock.lock.apt_state import AptState
from airlock.lock.plans import Plans


def plan() -> AptResult:
    return AptResult([], [], {}, AptState({}))


async def reached(plans: Plans, image: str) -> bool:
    try:
        await asyncio.wait_for(plans.known(image), 0.2)
    except TimeoutError:
        return False
    return True


async def test_an_image_is_known_as_soon_as_its_plan_comes_and_the_others_are_not() -> None:
    plans, made = Plans(["base", "cron"]), plan()
    await asyncio.to_thread(plans.put, "base", made)
    assert await reached(plans, "base")
    assert plans.found == {"base": made}
    assert not await reached(plans, "cron")


async def test_at_the_end_nobody_waits_for_an_image_that_has_no_plan() -> None:
    plans = Plans(["base", "refused"])
    await asyncio.to_thread(plans.put, "base", plan())
    plans.complete()
    assert await reached(plans, "refused")
    assert "refused" not in plans.found


async def test_together_none_is_known_before_all_are() -> None:
    plans = Plans(["base", "cron"], together=True)
    await asyncio.to_thread(plans.put, "base", plan())
    assert not await reached(plans, "base")
    plans.complete()
    assert await reached(plans, "base")
