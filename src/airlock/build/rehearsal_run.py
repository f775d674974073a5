"""One rehearsal in its room: what is built already is kept, the rest is built image by image and written down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from airlock.build.image_facts import run_check
from airlock.build.overlooked import asked_in_vain
from airlock.build.prepare import Prepared
from airlock.build.rehearsal_journal import Journal, Rehearsed, image_key
from airlock.build.workshop import ROOT_IMAGE, Workshop, blamed
from airlock.bundle.stored import StoredBundle
from airlock.core.errors import AirlockError, BuildError
from airlock.core.files import require_space
from airlock.core.progress import Reporter
from airlock.evidence import ledger
from airlock.kolla.render import RenderedImage, RenderedTree
from airlock.room.sealed import SealedRoom

UNPACKED = 6
"""An image takes up to so many times the size of its own locked files: they are packed, and pip's are compiled."""

SPARE = 2 << 30  # bytes that a disk keeps besides


class ImageState(msgspec.Struct, frozen=True):
    """One image of the definition.

    Attributes:
        state: ``built``, ``failed``, ``skipped`` (an ancestor failed) or ``left`` (not yet begun).
        now: it was built, or tried, in this run.
        rehearsed: how that ended, where it was ever begun with what it is made of now.
    """

    name: str
    parent: str
    state: str
    now: bool = False
    rehearsed: Rehearsed | None = None


class RehearsalRun:
    """One rehearsal, in its room.

    Attributes:
        kept: image → its id in the engine, for those that are built of what the lock names now.
        done: what this run did.
    """

    def __init__(
        self, room: SealedRoom, workshop: Workshop, bundle: StoredBundle, prepared: Prepared, tree: RenderedTree,
        journal: Journal, place: Path, reporter: Reporter,
    ) -> None:  # fmt: skip
        self._room, self._workshop, self._bundle, self._prepared = room, workshop, bundle, prepared
        self._tree, self._journal, self._place, self._reporter = tree, journal, place, reporter
        self._root = ""
        self.kept: dict[str, str] = {}
        self.done: dict[str, Rehearsed] = {}

    async def all(self, names: Sequence[str], deadline: float | None) -> None:
        """Build what is not built yet of ``names`` (parents first), until the monotonic clock says ``deadline``."""
        await self._workshop.canary()
        await self._provide_root()
        await self._sweep()
        todo = [name for name in names if name not in self.kept]
        self._reporter.say(f"{len(names) - len(todo)} images are built already, {len(todo)} to go")
        for number, name in enumerate(todo, 1):
            if deadline is not None and time.monotonic() > deadline:
                self._reporter.say(f"the time is over; {len(todo) - number + 1} images are left for the next run")
                return
            image = self._tree.by_name[name]
            if image.parent and image.parent not in self.kept:
                entry = self._entry(image, "", state="skipped", said=f"its parent {image.parent} was not built")
            else:
                require_space(self._place, self._estimate(name) + SPARE, f"image {name}")
                entry = await self._one(image)
            self._journal.put(entry)
            self.done[name] = entry

    def states(self) -> tuple[ImageState, ...]:
        """Every image of the tree, as it stands now."""
        found: dict[str, ImageState] = {}
        for image in self._tree.images:
            entry = self._journal.entries.get(image.name)
            state = "left"
            if image.name in self.kept:
                state = "built"
            elif image.parent and found[image.parent].state in ("failed", "skipped"):
                state = "skipped"
            elif entry and entry.state == "failed" and entry.key == self._key(image):
                state = "failed"
            known = entry if entry and entry.state == state else None
            found[image.name] = ImageState(image.name, image.parent, state, image.name in self.done, known)
        return tuple(found.values())

    async def _provide_root(self) -> None:
        """The root image, unless the engine has it from a former run."""
        want, entry = self._workshop.base, self._journal.entries.get(ROOT_IMAGE)
        if entry is not None and entry.key == want.key and await self._has(entry.id):
            self._root = entry.id
            return
        began = time.monotonic()
        self._root = await self._workshop.provide_root(self._place / "base")
        seconds = round(time.monotonic() - began, 1)
        self._journal.put(
            Rehearsed(
                image=ROOT_IMAGE, state="built", key=want.key, date=ledger.utc_now(), id=self._root, seconds=seconds
            )
        )

    async def _has(self, image: str) -> bool:
        return (await self._room.engine.podman("image", "exists", image)).returncode == 0

    async def _sweep(self) -> None:
        """Keep what is built of what the lock names now, and remove all else: layers of other inputs look the same."""
        engine = self._room.engine
        for image in self._tree.images:
            entry = self._journal.entries.get(image.name)
            built = entry is not None and entry.state == "built" and (not image.parent or image.parent in self.kept)
            if entry and built and entry.key == self._key(image) and await self._has(entry.id):
                self.kept[image.name] = entry.id
        listed = await engine.podman("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}", check=True)
        keep = {self._root, *self.kept.values()}
        lines = [line.split(" ", 1) for line in listed.stdout.decode().splitlines()]
        stale = [name for ident, name in lines if ident.removeprefix("sha256:") not in keep and "<none>" not in name]
        if stale:
            await engine.podman("rmi", "--force", *stale, check=True)
        await engine.podman("image", "prune", "--force", check=True)

    def _key(self, image: RenderedImage) -> str:
        parent = self.kept.get(image.parent, "") if image.parent else self._root
        times = self._prepared.times
        return image_key(self._bundle.lock, self._tree.arch, image.name, parent, times[image.name])

    def _estimate(self, name: str) -> int:
        """Bytes that an image will take at most."""
        lock = self._bundle.lock
        own = [demand for demand in lock.demands if (demand.arch, demand.image) == (self._tree.arch, name)]
        return UNPACKED * sum(lock.by_id[ident].size for demand in own for ident in demand.artifacts)

    async def _one(self, image: RenderedImage) -> Rehearsed:
        """Build one image, and run its check."""
        room, name = self._room, image.name
        key, began, before = self._key(image), time.monotonic(), room.snapshot()
        room.image = name
        said, log = "", f"{name}.log"
        try:
            outcome = await self._workshop.build(msgspec.structs.replace(self._tree, images=(image,)))
            outcome.check()
            if command := self._prepared.loaded.definition.checks.get(name):
                await run_check(room.engine, image.reference, name, command)
        except BuildError as error:
            said = f"{error.message} {error.remedy}"
            _raise_first(error, room.failures)
        asked = asked_in_vain(name, room.report(), room.snapshot().since(before))
        seconds = round(time.monotonic() - began, 1)
        if said:
            for line in asked:
                self._reporter.say(f"  {line}")
            return self._entry(image, key, state="failed", said=said, asked=asked, seconds=seconds, log=log)
        found = await room.engine.podman("image", "inspect", "--format", "{{.Id}}", image.reference, check=True)
        self.kept[name] = found.stdout.decode().strip()
        return self._entry(image, key, state="built", id=self.kept[name], asked=asked, seconds=seconds, log=log)

    def _entry(self, image: RenderedImage, key: str, **facts: object) -> Rehearsed:
        return msgspec.convert({"image": image.name, "key": key, "date": ledger.utc_now(), **facts}, type=Rehearsed)


def _raise_first(error: BuildError, failures: Sequence[AirlockError]) -> None:
    """A file of the pool that could not be served says nothing of the image."""
    if failures:
        raise blamed(error, failures)
