"""``airlock refresh``."""

from __future__ import annotations

from typing import Any

from airlock.cli.common import (
    DEFAULT_DEFINITION,
    DEFAULT_FACTORY,
    DefinitionArgument,
    FactoryOption,
    JsonOption,
    ReasonOption,
    answer,
    reporter,
    verb,
)
from airlock.core.files import exclusive
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition
from airlock.evidence import ledger
from airlock.lock import refresh as refreshing
from airlock.lock.files import load_lock
from airlock.lock.indexes import build_indexes, write_indexes
from airlock.lock.passage import Passage
from airlock.store.opening import open_copies
from airlock.store.pool import Pool


@verb
def refresh(
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Fetch into the factory's pool exactly what the lock names, and nothing twice; write the lock's indexes."""
    lock = load_lock(load_definition(definition).lock_path)
    place = load_factory(factory)
    with exclusive(place.state / "factory.lock", "the factory"):
        told = reporter(as_json)
        why = reason or f"refresh of {lock.header.release}"
        with open_copies(place) as store, Passage(place, "refresh", why, told, lock=lock.digest) as way:
            result = way.run(refreshing.refresh(lock, way.factory, {}, told, store, way.admit))
        write_indexes(build_indexes(lock, Pool(place.pool)), place.indexes / lock.digest)
        if result.fetched or result.taken or result.stored:
            facts: dict[str, Any] = {
                "lock": lock.digest,
                "fetched": result.fetched,
                "bytes": result.bytes,
                "taken": result.taken,
                "stored": result.stored,
                "windows": way.windows,
            }
            ledger.append(place.ledger, "refresh", facts)
    answer(as_json, result, _lines(result, store.name if store else ""))


def _lines(result: refreshing.RefreshResult, store: str) -> list[str]:
    lines = [f"all {result.present} files are there; nothing was fetched"]
    if result.fetched or result.taken:
        lines = [
            f"fetched {result.fetched} files, {result.bytes / 1e6:,.1f} MB in {result.seconds:.1f} s; "
            f"{result.present} were there already"
        ]
    if store:
        lines.append(f"{store}: {result.taken} files came from it, {result.stored} were put there and read back")
    return lines
