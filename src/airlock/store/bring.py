"""Many files into a store: put, synced, and all read back, since only what a store gives back is known to be in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from airlock.core.errors import IntegrityError, UpstreamError
from airlock.core.parallel import in_threads
from airlock.core.progress import Reporter
from airlock.store.artifacts import ArtifactStore

BATCH = 1 << 30  # bytes between two syncs
ROUNDS = 4  # times that everything is read back, should the store go away while it is read


class Item(msgspec.Struct, frozen=True):
    """One file to bring: where to, where from, and what it is."""

    path: str
    source: Path
    sha256: str
    size: int


def bring(store: ArtifactStore, items: Sequence[Item], reporter: Reporter) -> None:
    """Put files into a store and read all of them back.

    A store that went away meanwhile may have lost what it said it had: that is put again, and all is read once more.

    Raises:
        IntegrityError: the store does not give back what it was given, or a source holds other bytes.
        UpstreamError: the store keeps going away; also, as SpaceError and UsageError, what its ``put`` says.
    """
    if not items:
        return
    lacking = items
    for _ in range(ROUNDS):
        breaks = store.breaks
        _put(store, lacking, reporter)
        put = store.breaks
        wrong = _read_back(store, items, reporter)
        if not wrong and store.breaks == put:
            return
        if wrong and store.breaks == breaks:
            path, found = next((item.path, found) for item, found in wrong.items())
            raise IntegrityError(
                f"the store {store.name} does not give back what was written: {path} is {found or 'missing'}",
                remedy="Check the disk of the store, then run the same command again.",
            )
        lacking = list(wrong)
        reporter.say(f"{store.name} went away meanwhile: {len(lacking)} files are put again, and all are read again")
    raise UpstreamError(
        f"{store.name} keeps going away while it is read back",
        remedy="See that it stays up, then run the same command again: what is whole in it is not sent twice.",
    )


def _put(store: ArtifactStore, items: Sequence[Item], reporter: Reporter) -> None:
    def put(item: Item) -> None:
        store.put(item.path, item.source, sha256=item.sha256, size=item.size)

    since = 0
    with reporter.task("copying into the store", sum(item.size for item in items)) as task:
        for item, _ in in_threads(put, items, store.streams):
            task.advance(item.size, item.path)
            since += item.size
            if since >= BATCH:
                store.sync()
                since = 0
    store.sync()


def _read_back(store: ArtifactStore, items: Sequence[Item], reporter: Reporter) -> dict[Item, tuple[str, int] | None]:
    """What the store gives back otherwise than it was given."""
    wrong: dict[Item, tuple[str, int] | None] = {}
    with reporter.task("reading back", sum(item.size for item in items)) as task:
        for item, found in in_threads(lambda item: store.digest(item.path), items, store.streams):
            task.advance(item.size, item.path)
            if found != (item.sha256, item.size):
                wrong[item] = found
    return wrong
