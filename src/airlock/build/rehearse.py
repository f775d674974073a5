"""``validate --rehearse``: the images are built at the factory as the site will build them, from its own pool.

Rendering, mirror, canary and engine are those of ``build``; nothing is published. What was built stays in an engine
storage of the factory's, so that a rehearsal goes on where the last one ended, however that was.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.build.mirror import BundleMirror
from airlock.build.prepare import prepare
from airlock.build.rehearsal_journal import Journal
from airlock.build.rehearsal_run import ImageState, RehearsalRun
from airlock.build.wheel_cache import WheelCache
from airlock.build.workshop import Workshop, own_tree
from airlock.bundle.pool_bundle import pool_bundle
from airlock.core.files import exclusive
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.evidence import ledger
from airlock.kolla.selection import wanted
from airlock.lock.model import Lock
from airlock.room.namespace import require_root
from airlock.room.sealed import SealedRoom, clean_stale

VERB = "rehearse"


class Order(msgspec.Struct, frozen=True):
    """What is asked for.

    Attributes:
        images: names and regular expressions, as in the definition; their ancestors are built, too. Empty for all.
        seconds: no image is begun after so long; None for no end.
    """

    images: tuple[str, ...] = ()
    seconds: float | None = None


class Rehearsal(msgspec.Struct, frozen=True):
    """What stands rehearsed after a run.

    Attributes:
        images: all of the definition, parents first; ``asked`` names those that this run was for.
        left_out: image → why the definition leaves it out.
        storage: bytes that the rehearsal's folder takes on the disk.
    """

    release: str
    arch: str
    lock: str
    images: tuple[ImageState, ...]
    asked: tuple[str, ...]
    left_out: dict[str, str]
    seconds: float
    storage: int
    folder: str

    def of(self, state: str) -> list[ImageState]:
        """Images of a state among those asked for."""
        return [image for image in self.images if image.state == state and image.name in self.asked]


async def rehearse(
    lock: Lock, loaded: LoadedDefinition, factory: Factory, order: Order, reporter: Reporter
) -> Rehearsal:
    """Build images in a sealed room from the factory's pool; how each ended is in what is returned.

    Raises:
        IncompleteError: the bundle is not whole, or what is rendered now is not what was locked.
        DefinitionError: a name that is asked for is no image of the definition.
        StateError: another rehearsal is running.
        SpaceError: the disk has no room for the next image; what is built is kept.
        RoomError, ToolError: no room can be made. BuildError: no base image could be made.
    """
    require_root()
    place = factory.rehearsal
    began = time.monotonic()
    with exclusive(factory.state / "rehearsal.lock", "the rehearsal"), TemporaryDirectory(prefix="airlock-") as name:
        bundle = pool_bundle(factory, lock, loaded)
        prepared = await prepare(bundle, platform.machine(), factory.cache, Path(name), reporter)
        tree = own_tree(bundle, prepared)
        names = wanted(order.images, {image.name: image.parent for image in tree.images}, str(loaded.path))
        wheels = WheelCache(place / "wheels")
        mirror = BundleMirror(bundle, wheels)
        run: RehearsalRun | None = None
        state = "failure"
        try:
            async with SealedRoom.open(bundle.id, place / "room", mirror=mirror, reporter=reporter) as room:
                workshop = Workshop(
                    room, bundle, prepared, mirror, wheels, build_id=f"rehearsal-{ledger.utc_now()}", fresh=False,
                    logs=place / "logs", work=Path(name), reporter=reporter,
                )  # fmt: skip
                run = RehearsalRun(
                    room, workshop, bundle, prepared, tree, Journal(place / "journal.jsonl"), place, reporter
                )
                deadline = None if order.seconds is None else began + order.seconds
                await run.all(names, deadline)
                state = "success"
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # what is done is kept, the ledger tells it
        finally:
            if run is not None and run.done:
                ended = {image: entry.state for image, entry in sorted(run.done.items())}
                facts = {"lock": lock.digest, "arch": tree.arch, "images": ended, "state": state}
                ledger.append(factory.ledger, VERB, facts)
    return Rehearsal(
        release=lock.header.release,
        arch=tree.arch,
        lock=lock.digest,
        images=run.states(),
        asked=tuple(names),
        left_out=tree.left_out,
        seconds=round(time.monotonic() - began, 1),
        storage=await asyncio.to_thread(disk_use, place),
        folder=str(place),
    )


def clean(factory: Factory, reporter: Reporter) -> int:
    """Remove all that rehearsals left in a factory; returns how many bytes that were.

    Raises:
        StateError: a rehearsal is running.
    """
    require_root()
    with exclusive(factory.state / "rehearsal.lock", "the rehearsal"):
        clean_stale(reporter)
        size = disk_use(factory.rehearsal)
        if factory.rehearsal.exists():
            shutil.rmtree(factory.rehearsal)
    return size


def disk_use(folder: Path) -> int:
    """Bytes that a folder takes on the disk."""
    seen: set[int] = set()
    total = 0
    for base, _, files in os.walk(folder):
        for name in files:
            found = os.lstat(os.path.join(base, name))  # noqa: PTH118  # a storage has hundreds of thousands
            if found.st_nlink == 1 or found.st_ino not in seen:
                total += found.st_blocks * 512
                seen |= {found.st_ino} if found.st_nlink > 1 else set()
    return total
