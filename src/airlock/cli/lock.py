"""``airlock lock``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

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
from airlock.cli.words import counted
from airlock.core.errors import DifferenceError
from airlock.core.files import exclusive
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition
from airlock.evidence import ledger
from airlock.lock.files import load_lock, save_lock
from airlock.lock.model import Lock
from airlock.lock.passage import Passage
from airlock.lock.resolve import check_lock, resolve_lock

CheckOption = Annotated[
    bool, typer.Option("--check", help="Solve the existing lock again, offline; the bytes must be the same.")
]


@verb
def lock(
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    check: CheckOption = False,
    reason: ReasonOption = "",
    as_json: JsonOption = False,
) -> None:
    """Derive from Kolla everything a build takes from outside, resolve it, write it beside the definition."""
    loaded = load_definition(definition)
    place = load_factory(factory)
    told = reporter(as_json)
    if check:
        known = load_lock(loaded.lock_path)
        found = asyncio.run(check_lock(loaded, place, known, told))
        if found:
            shown = "\n".join(f"  {line[:300]}" for line in found[:20])
            raise DifferenceError(
                f"solved again, the lock differs in {counted(len(found), 'line')}:\n{shown}",
                remedy="Was the definition changed, or the lock edited? Run `airlock lock`, and review the change.",
            )
        lines = ["solved again offline: the same bytes", *_lines(known, loaded.lock_path)]
        answer(as_json, _summary(known, loaded.lock_path.name), lines)
        return
    with exclusive(place.state / "factory.lock", "the factory"):
        with Passage(place, "lock", reason or f"lock of {loaded.definition.name}", told) as way:
            made = way.run(resolve_lock(loaded, way.factory, told, way.admit))
        save_lock(loaded.lock_path, made)
        data: dict[str, Any] = {"definition": loaded.digest, "lock": made.digest, "release": made.header.release}
        data["windows"] = way.windows
        ledger.append(place.ledger, "lock", data)
    answer(as_json, _summary(made, loaded.lock_path.name), _lines(made, loaded.lock_path))


def _summary(lock: Lock, file: str) -> dict[str, object]:
    header = lock.header
    return {
        "file": file,
        "digest": lock.digest,
        "images": header.images,
        "demands": header.demands,
        "artifacts": header.artifacts,
        "size": header.size,
    }


def _lines(lock: Lock, path: Path) -> list[str]:
    kinds: dict[str, tuple[int, int]] = {}
    for artifact in lock.artifacts:
        count, size = kinds.get(artifact.kind, (0, 0))
        kinds[artifact.kind] = (count + 1, size + artifact.size)
    header = lock.header
    return [
        f"{counted(header.images, 'image')}, {counted(header.demands, 'demand')}, "
        f"{counted(header.artifacts, 'artifact')}, {header.size / 1e6:,.1f} MB",
        *(f"  {kind:<7} {count:>5}  {size / 1e6:>8,.1f} MB" for kind, (count, size) in sorted(kinds.items())),
        f"lock    {lock.digest}",
        f"file    {path}",
    ]
