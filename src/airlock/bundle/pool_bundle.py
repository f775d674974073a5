"""The bundle that a factory would write now, read from its pool and indexes in place: nothing is copied or written.

A rehearsal builds from it with the code that builds from an imported one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec

from airlock.bundle import names
from airlock.bundle.make import load_indexes
from airlock.bundle.manifest import MAX_CONTENT
from airlock.bundle.plan import Plan, plan_bundle
from airlock.bundle.stored import BUNDLES, FORMAT, Commit, StoredBundle
from airlock.bundle.write import require_pool
from airlock.core.digest import sha256_bytes, sha256_file
from airlock.core.errors import IntegrityError
from airlock.core.files import copy_file, write_file
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.evidence import ledger
from airlock.lock.model import Lock
from airlock.store.pool import Pool


class PoolSource:
    """An ``ArtifactSource`` over a factory's pool, for content, and a plan, for all else of one bundle.

    Args:
        ident: the bundle's id.
        indexes: folder where the plan's indexes lie.
    """

    streams = 2

    def __init__(self, pool: Pool, plan: Plan, ident: str, indexes: Path) -> None:
        self._pool = pool
        self._plan = plan
        self._folder = f"{BUNDLES}/{ident}/"
        self._indexes = indexes

    @property
    def name(self) -> str:
        """The pool's folder."""
        return str(self._pool.root)

    def read_bytes(self, path: str, limit: int) -> bytes:
        """See ``ArtifactSource.read_bytes``; content has no small files."""
        data = self._plan.sources.get(path.removeprefix(self._folder))
        if data is None:
            raise FileNotFoundError(path)
        if len(data) > limit:
            raise IntegrityError(f"{path} is larger than {limit} bytes")
        return data

    def local(self, path: str) -> Path | None:
        """See ``ArtifactSource.local``. The lock and the definition are in memory only."""
        folder, *rest = path.split("/")
        if folder == names.POOL and len(rest) == 3:
            return self._pool.path(rest[1])
        below = f"{self._folder}{names.INDEXES}/"
        return self._indexes / path.removeprefix(below) if path.startswith(below) else None

    def fetch(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactSource.fetch``."""
        if (place := self.local(path)) is not None:
            copy_file(place, target, sha256=sha256, size=size, durable=False)
        else:
            write_file(target, self.read_bytes(path, size), durable=False)

    async def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """See ``ArtifactSource.stream``: of what has no file; all else is ``local``."""
        yield self.read_bytes(path, MAX_CONTENT)

    def digest(self, path: str) -> tuple[str, int] | None:
        """See ``ArtifactSource.digest``."""
        place = self.local(path)
        if place is None:
            data = self._plan.sources.get(path.removeprefix(self._folder))
            return None if data is None else (sha256_bytes(data), len(data))
        try:
            return sha256_file(place)
        except FileNotFoundError:
            return None


def pool_bundle(factory: Factory, lock: Lock, definition: LoadedDefinition) -> StoredBundle:
    """The bundle of a lock, as it stands in the factory. It has no serial of its own: its id ends in ``-rehearsal``.

    Raises:
        IncompleteError: there are no indexes for this lock, or the pool lacks files.
        StateError: the lock was made for another definition.
    """
    plan = plan_bundle(lock, definition, load_indexes(factory, lock))
    pool = Pool(factory.pool)
    require_pool(plan, pool)
    ident = f"{plan.stream}-rehearsal"
    manifest = msgspec.structs.replace(plan.manifest(1, ledger.GENESIS), id=ident)
    commit = Commit(
        format=FORMAT,
        id=ident,
        stream=plan.stream,
        serial=manifest.serial,
        manifest=sha256_bytes(manifest.to_bytes()),
        content_digest=plan.content_digest,
        imported="",
        ledger=ledger.GENESIS,
    )
    return StoredBundle(PoolSource(pool, plan, ident, factory.indexes / lock.digest), commit, manifest)
