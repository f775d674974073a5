"""A copy of what the factory locked in a store beside it, so that its machine can be replaced.

Artifacts lie there as in a site's store. What the lock was solved against goes with them: indexes are made from it, and
``lock --check`` asks it again.
"""

from __future__ import annotations

from collections.abc import Iterable

from airlock.core.errors import IntegrityError
from airlock.core.files import require_space, sync_filesystem
from airlock.core.parallel import in_threads
from airlock.core.progress import Reporter
from airlock.fetch.transcript import read_transcript
from airlock.lock.model import Lock
from airlock.store.artifacts import ArtifactStore, StoredFile, store_path
from airlock.store.bring import Item, bring
from airlock.store.pool import Pool

WITNESS = "witness.jsonl"
"""File name of a lock's transcript in the store."""
WITNESSED = "witnessed"
"""File name of what a transcript names and no artifact is."""


class Copies:
    """One lock's files in the store, as a listing of it showed them.

    Args:
        store: where the copies lie.
        pool: the factory's.
    """

    def __init__(self, store: ArtifactStore, lock: Lock, pool: Pool) -> None:
        self._store, self._lock, self._pool = store, lock, pool
        self._there = {file.path: file for file in store.list("pool")}

    def take(self, reporter: Reporter) -> int:
        """Bring into the pool what it lacks and the store has; the number of files that came.

        A file that the store cannot give, or gives with other bytes, is left to its upstream, and said; ``give`` mends
        it.

        Raises:
            SpaceError: the pool's disk is too small.
            UpstreamError, UsageError: the store goes away, or does not let this user read.
        """
        artifacts = (StoredFile(store_path(one.sha256, one.file), one.size, one.sha256) for one in self._lock.artifacts)
        witness = self._lock.header.witness
        known = self._there.get(store_path(witness, WITNESS))
        first = [] if known is None else [StoredFile(known.path, known.size, witness)]
        came = self._fetch([*first, *artifacts], reporter)
        came += self._fetch(self._witnessed(), reporter)
        if came:
            sync_filesystem(self._pool.root)
        return came

    def give(self, reporter: Reporter) -> int:
        """Put into the store what the pool has of the lock and the store has not; read back; the number of files.

        What the store lists with the right size and sha256 is not sent again.

        Raises:
            IntegrityError: the store has other bytes under a name, or does not give back what it was given; the pool's
                file is not what it should be.
            SpaceError, UpstreamError, UsageError: see ``NexusStore.put``.
        """
        files = {store_path(one.sha256, one.file): one for one in self._lock.artifacts}
        items = [Item(path, self._pool.path(one.sha256), one.sha256, one.size) for path, one in files.items()]
        items += [Item(one.path, self._pool.path(one.sha256), one.sha256, one.size) for one in self._witnessed()]
        witness = self._pool.path(self._lock.header.witness)
        if witness.exists():  # last: it names the rest
            path = store_path(self._lock.header.witness, WITNESS)
            items.append(Item(path, witness, self._lock.header.witness, witness.stat().st_size))
        lacking = [item for item in items if self._lacks(item) and self._pool.has(item.sha256, item.size)]
        bring(self._store, lacking, reporter)
        return len(lacking)

    def _lacks(self, item: Item) -> bool:
        there = self._there.get(item.path)
        return there is None or there.size != item.size or there.sha256 not in ("", item.sha256)

    def _fetch(self, files: Iterable[StoredFile], reporter: Reporter) -> int:
        wanted = {
            file.sha256: file
            for file in files
            if file.path in self._there and not self._pool.has(file.sha256, file.size)
        }

        def fetch(file: StoredFile) -> str:
            try:
                self._store.fetch(file.path, self._pool.path(file.sha256), sha256=file.sha256, size=file.size)
            except FileNotFoundError:
                return f"{file.path} is gone from {self._store.name}"
            except IntegrityError as error:
                return error.message
            return ""

        if not wanted:
            return 0
        came, total = 0, sum(file.size for file in wanted.values())
        require_space(self._pool.root, total, f"taking {len(wanted)} files from {self._store.name}")
        with reporter.task(f"taking from {self._store.name}", total) as task:
            for file, problem in in_threads(fetch, wanted.values(), self._store.streams):
                task.advance(file.size, file.path)
                if problem:
                    reporter.say(f"{problem}; its upstream is asked")
                    del self._there[file.path]
                else:
                    came += 1
        return came

    def _witnessed(self) -> list[StoredFile]:
        """What the lock was solved against besides artifacts; nothing where the pool does not know."""
        if not self._pool.has(self._lock.header.witness):
            return []
        artifacts = {artifact.sha256 for artifact in self._lock.artifacts}
        return [
            *{
                entry.sha256: StoredFile(store_path(entry.sha256, WITNESSED), entry.size, entry.sha256)
                for entry in read_transcript(self._pool, self._lock.header.witness).entries()
                if entry.status == 200 and entry.sha256 not in artifacts
            }.values()
        ]
