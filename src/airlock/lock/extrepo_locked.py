"""What a lock has of extrepo's repositories: the source for solving again, key and source for the room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from airlock.lock.downloads import pool_address
from airlock.lock.model import Artifact, Demand, Lock
from airlock.store.pool import Pool


def kept_repositories(demands: Iterable[Demand]) -> list[Demand]:
    """The demands of repositories that are kept; the note of another says why it is not."""
    return [demand for demand in demands if demand.kind == "vendor-repository" and not demand.note]


def locked_texts(lock: Lock, arch: str, pool: Pool) -> dict[str, str]:
    """Repository → the source that a lock has for it.

    Raises:
        IntegrityError: it is not in the pool, or its bytes changed.
    """
    found = _answers(lock.demands, lock.by_id)
    return {demand.spec: pool.read(source.sha256).decode() for demand, _, source in found if demand.arch == arch}


def sealed_repositories(demands: Iterable[Demand], by_id: Mapping[str, Artifact]) -> dict[str, tuple[str, str]]:
    """Repository → addresses in the room of its key and of its source; those without an answer are left out."""
    return {demand.spec: (pool_address(key), pool_address(source)) for demand, key, source in _answers(demands, by_id)}


def _answers(demands: Iterable[Demand], by_id: Mapping[str, Artifact]) -> Iterator[tuple[Demand, Artifact, Artifact]]:
    for demand in kept_repositories(demands):
        found = {by_id[ident].kind: by_id[ident] for ident in demand.artifacts if ident in by_id}
        if "key" in found and "file" in found:
            yield demand, found["key"], found["file"]
