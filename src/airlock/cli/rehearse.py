"""``airlock validate --rehearse``."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from airlock.cli.common import answer, reporter
from airlock.cli.words import counted
from airlock.core.errors import UsageError
from airlock.core.files import write_file
from airlock.core.settings import Factory
from airlock.core.signals import ended_by_term
from airlock.definition.load import load_definition
from airlock.lock.files import load_lock

if TYPE_CHECKING:
    from airlock.build.rehearse import Rehearsal

ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="[IMAGE]...", help="With --rehearse: images, or expressions; ancestors follow. Default: all."
    ),
]
RehearseOption = Annotated[
    bool, typer.Option("--rehearse", help="Build the images in a sealed room, from the factory's own pool (root).")
]
ForOption = Annotated[
    str, typer.Option("--for", metavar="TIME", help="Begin no image after that long: 40m, 2h; the next run goes on.")
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a page (Markdown) of what is rehearsed so far.")
]
CleanOption = Annotated[bool, typer.Option("--clean", help="Remove all that rehearsals left; build nothing.")]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]{1,6})([smh])")


class RehearseOptions(msgspec.Struct, frozen=True):
    """What stands on the command line besides ``--rehearse``."""

    images: list[str]
    duration: str
    report: Path | None
    clean: bool


def rehearsed(definition: Path, factory: Factory, options: RehearseOptions, as_json: bool) -> None:
    """Rehearse, write the report, answer; or remove what rehearsals left. Imports what it takes: see ``prove``.

    Raises:
        AirlockError: see ``rehearse``; IncompleteError, BuildError when images could not be built.
    """
    from airlock.build.rehearsal_report import markdown, verdict
    from airlock.build.rehearse import Order, clean, rehearse

    if options.clean:
        size = clean(factory, reporter(as_json))
        answer(as_json, {"removed": size}, [f"removed {size / 1e9:,.1f} GB"])
        return
    loaded = load_definition(definition)
    order = Order(tuple(options.images), seconds(options.duration))
    lock = load_lock(loaded.lock_path)
    found = asyncio.run(ended_by_term(rehearse(lock, loaded, factory, order, reporter(as_json))))
    if options.report is not None:
        write_file(options.report, markdown(found).encode(), durable=False)
    failure = verdict(found)
    answer(as_json, found, describe(found))
    if failure is not None:
        if as_json:  # the answer already is one JSON document
            sys.exit(failure.exit_code)
        raise failure


def seconds(text: str) -> float | None:
    """``40m`` → 2400; nothing for no text.

    Raises:
        UsageError: it is no time.
    """
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"--for {text}: not a time", remedy="Write 90s, 40m or 2h.")
    return float(match[1]) * _UNITS[match[2]]


def describe(found: Rehearsal) -> list[str]:
    """A rehearsal for a person."""
    lines = [
        f"{image.name:<32} {image.state}" + (f" in {image.rehearsed.seconds:,.0f} s" if image.rehearsed else "")
        for image in found.images
        if image.now
    ]
    states = ", ".join(f"{len(found.of(state))} {state}" for state in ("built", "failed", "skipped", "left"))
    return [
        *lines,
        f"{counted(len(found.asked), 'image')} asked for: {states}; "
        f"{found.storage / 1e9:,.1f} GB at {found.folder} (--clean removes them)",
    ]
