"""``airlock lock``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

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
from airlock.cli.words import counted, left_out_lines
from airlock.core.errors import DifferenceError, ResolutionError, UsageError
from airlock.core.files import exclusive
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition
from airlock.evidence import ledger
from airlock.lock.files import load_lock, save_lock
from airlock.lock.model import Lock
from airlock.lock.passage import Passage
from airlock.lock.resolve import Resolution, check_lock, resolve_lock
from airlock.lock.stand_ins import proven

CheckOption = Annotated[
    bool, typer.Option("--check", help="Solve the existing lock again, offline; the bytes must be the same.")
]

KeepGoingOption = Annotated[
    bool,
    typer.Option("--keep-going", help="Tell of every image that cannot be locked, not of the first; write none then."),
]
LINES, WIDTH = 6, 400


@verb
def lock(
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    check: CheckOption = False,
    reason: ReasonOption = "",
    keep_going: KeepGoingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Derive from Kolla everything a build takes from outside, resolve it, write it beside the definition."""
    if check and keep_going:
        raise UsageError("--check solves a lock again; --keep-going is for making one")
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
            made = way.run(resolve_lock(loaded, way.factory, told, way.admit, keep_going=keep_going))
        if made.lock is None:
            refuse(made, as_json)
        save_lock(loaded.lock_path, made.lock)
        data: dict[str, Any] = {
            "definition": loaded.digest,
            "lock": made.lock.digest,
            "release": made.lock.header.release,
        }
        data["windows"] = way.windows
        ledger.append(place.ledger, "lock", data)
    summary = _summary(made.lock, loaded.lock_path.name) | {"left_out": made.left_out}
    answer(as_json, summary, [*_lines(made.lock, loaded.lock_path), *left_out_lines(made.left_out)])


def _summary(lock: Lock, file: str) -> dict[str, object]:
    header = lock.header
    return {
        "file": file,
        "digest": lock.digest,
        "images": header.images,
        "demands": header.demands,
        "artifacts": header.artifacts,
        "size": header.size,
        "proven": proven(lock),
    }


def refuse(found: Resolution, as_json: bool) -> NoReturn:
    """Say which images cannot be locked, and why; nothing was written.

    Raises:
        ResolutionError: for a person; a program gets one JSON document and the same exit code.
    """
    if as_json:  # the answer already is one JSON document
        answer(True, {"refused": found.refused, "images": found.images, "left_out": found.left_out}, [])
        sys.exit(ResolutionError.exit_code)
    own = [one for one in found.refused if not one.parent]
    lines = [f"  {one.image} ({one.arch}):\n{indented(one.reasons)}" for one in own]
    lines += [f"  {one.image} ({one.arch}): {one.reasons[0]}" for one in found.refused if one.parent]
    table = "\n".join(f'    {name} = "…"' for name in dict.fromkeys(one.image for one in own))
    raise ResolutionError(
        f"{len(found.refused)} of {counted(found.images, 'image')} cannot be locked; no lock was written:\n"
        + "\n".join(lines),
        remedy="Mend what can be mended. To build the others, say in the release definition why these are left out:\n"
        f"    [leave_out]\n{table}",
    )


def indented(reasons: Sequence[str]) -> str:
    """Reasons of a refusal, each line of each bounded, below the image's name."""
    return "\n".join(f"      {line[:WIDTH]}" for reason in reasons for line in reason.splitlines()[:LINES])


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
        str(proven(lock)),
        f"lock    {lock.digest}",
        f"file    {path}",
    ]
