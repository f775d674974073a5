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
from airlock.cli.difference_lines import difference_lines
from airlock.cli.words import counted, left_out_lines
from airlock.core.errors import DifferenceError, FormatError, ResolutionError, UsageError
from airlock.core.files import exclusive
from airlock.core.progress import Reporter
from airlock.core.settings import Factory, load_factory
from airlock.definition.load import load_definition
from airlock.evidence import ledger
from airlock.fetch.frozen import Frozen
from airlock.lock.difference import difference
from airlock.lock.files import load_lock, save_lock
from airlock.lock.model import Lock
from airlock.lock.passage import Passage
from airlock.lock.resolve import Resolution, check_lock, resolve_lock
from airlock.lock.shortfall import Refused
from airlock.lock.stand_ins import proven
from airlock.lock.update import frozen_answers, resolve_frozen

CheckOption = Annotated[
    bool, typer.Option("--check", help="Solve the existing lock again, offline; the bytes must be the same.")
]

KeepGoingOption = Annotated[
    bool,
    typer.Option("--keep-going", help="Tell of every image that cannot be locked, not of the first; write none then."),
]
NamesArgument = Annotated[
    list[str], typer.Argument(metavar="NAME", help="With --update: what may move; without any, everything.")
]
UpdateOption = Annotated[
    bool,
    typer.Option("--update", help="Ask anew for what is named: an upstream, project, section, git repository; or all."),
]
DiffOption = Annotated[
    tuple[Path, Path] | None,
    typer.Option("--diff", metavar="OLD NEW", help="Only say what changed from one lock to another."),
]
LINES, WIDTH, NAMED = 6, 400, 12


@verb
def lock(
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    names: NamesArgument = [],  # noqa: B006 - typer's default; never changed
    factory: FactoryOption = DEFAULT_FACTORY,
    check: CheckOption = False,
    update: UpdateOption = False,
    diff: DiffOption = None,
    reason: ReasonOption = "",
    keep_going: KeepGoingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Derive from Kolla everything a build takes from outside, resolve it, write it beside the definition."""
    if check and (keep_going or update):
        raise UsageError("--check solves a lock again; --keep-going and --update are for making one")
    if diff is not None:
        compare(*diff, as_json)
        return
    definition, names = split_words(definition, names, update=update)
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
        old = held(loaded.lock_path, told)
        frozen = what_holds(old, place, names, told, everything=update and not names)
        with Passage(place, "lock", reason or f"lock of {loaded.definition.name}", told) as way:
            if old and frozen:
                work = resolve_frozen(loaded, way.factory, told, way.admit, old, frozen, keep_going=keep_going)
            else:
                work = resolve_lock(loaded, way.factory, told, way.admit, keep_going=keep_going)
            made = way.run(work)
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
    changed: list[str] = []
    if old:
        changes = difference(old, made.lock)
        summary["changes"] = changes
        changed = ["nothing moved: the lock is as it was"] if changes.same else difference_lines(changes)
    answer(as_json, summary, [*changed, *_lines(made.lock, loaded.lock_path), *left_out_lines(made.left_out)])


def split_words(definition: Path, names: list[str], *, update: bool) -> tuple[Path, list[str]]:
    """``lock --update pbr release.toml``: the definition is the word that is one, in any place; the rest are names.

    Raises:
        UsageError: names without ``--update``.
    """
    if not update:
        if names:
            raise UsageError(f"{names[0]}: names go with --update", remedy="`airlock lock --update NAME… [DEFINITION]`")
        return definition, names
    words = [str(definition), *names]
    found = [word for word in words if word.endswith(".toml") or (Path(word) / DEFAULT_DEFINITION).is_file()]
    if len(found) > 1:
        raise UsageError(f"{found[0]} and {found[1]} are two definitions; --update is for one")
    return Path(found[0]) if found else DEFAULT_DEFINITION, [word for word in words if word not in found]


def what_holds(
    old: Lock | None, place: Factory, names: list[str], told: Reporter, *, everything: bool
) -> Frozen | None:
    """The answers of the lock that there is which hold; None to ask everything anew.

    Raises:
        UsageError: something is named, and there is nothing that the rest could be held to; or a name is unknown.
    """
    found = frozen_answers(old, place, names) if old and not everything else None
    if found is None and names:
        raise UsageError(
            "--update NAME moves part of a lock, and "
            + ("this pool has not what it was solved against" if old else "there is none yet"),
            remedy="Without a name, `airlock lock --update` asks everything anew.",
        )
    if old and found is None:
        told.say(
            "everything is asked anew" + ("" if everything else ": the pool has not what the lock was solved against")
        )
    return found


def held(path: Path, told: Reporter) -> Lock | None:
    """The lock that there is; one that cannot be read is no reason not to write a new one."""
    if not path.exists():
        return None
    try:
        return load_lock(path)
    except FormatError as error:
        told.say(f"the lock there is cannot be read and is made anew: {error.message}")
        return None


def compare(old: Path, new: Path, as_json: bool) -> None:
    """Say what changed from one lock to another.

    Raises:
        UsageError, FormatError: one of them is none.
        DifferenceError: they are not the same; what changed is the answer.
    """
    first, second = (load_lock(path / "airlock.lock" if path.is_dir() else path) for path in (old, new))
    changes = difference(first, second)
    answer(as_json, changes, difference_lines(changes))
    if not changes.same:
        sys.exit(DifferenceError.exit_code)


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
    lines = [f"  {one.image} ({one.arch}):\n{indented(one.reasons, one.remedies)}" for one in own]
    lines += [f"  {line}" for line in fallen(found.refused)]
    table = "\n".join(f'    {name} = "…"' for name in dict.fromkeys(one.image for one in own))
    raise ResolutionError(
        f"{len(found.refused)} of {counted(found.images, 'image')} cannot be locked; no lock was written:\n"
        + "\n".join(lines),
        remedy="Mend what can be mended. To build the others, say in the release definition why these are left out:\n"
        f"    [leave_out]\n{table}",
    )


def indented(reasons: Sequence[str], remedies: Sequence[str] = ()) -> str:
    """Reasons of a refusal, each line of each bounded, below the image's name; then what to do."""
    lines = [line[:WIDTH] for reason in reasons for line in reason.splitlines()[:LINES]]
    lines += [f"→ {remedy[:WIDTH]}" for remedy in remedies]
    return "\n".join(f"      {line}" for line in lines)


def fallen(refused: Sequence[Refused]) -> list[str]:
    """What falls with an image because it is built on it: a line for each such image, not one for all that falls."""
    parents = {(one.arch, one.image): one.parent for one in refused}
    found: dict[tuple[str, str], list[str]] = {}
    for one in refused:
        if root := one.parent:
            while parents[one.arch, root]:
                root = parents[one.arch, root]
            found.setdefault((one.arch, root), []).append(one.image)
    return [
        f"{counted(len(names), 'image')} built on {root} ({arch}): {', '.join(names[:NAMED])}"
        + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        for (arch, root), names in sorted(found.items())
    ]


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
