"""What apt does in each image, told to the event loop while a thread finds it out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from airlock.lock.apt_resolver import AptResult


class Plans:
    """Image → plan, for those who wait for one. Made where the event loop runs.

    Args:
        images: names of all.
        together: tell of none before all are known.

    Attributes:
        found: what is known by now.
    """

    def __init__(self, images: Iterable[str], *, together: bool = False) -> None:
        self._loop, self._together = asyncio.get_running_loop(), together
        self._known = {image: asyncio.Event() for image in images}
        self.found: dict[str, AptResult] = {}

    def put(self, image: str, plan: AptResult) -> None:
        """From the thread: a plan is known, and so are those of its ancestors."""
        self.found[image] = plan
        if not self._together:
            self._loop.call_soon_threadsafe(self._known[image].set)

    def complete(self) -> None:
        """Nothing more will come; images without a plan have none."""
        for known in self._known.values():
            known.set()

    async def known(self, image: str) -> None:
        """Wait until an image's plan is known, or will not come."""
        await self._known[image].wait()
