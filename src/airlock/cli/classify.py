"""``airlock classify``: how every command of a Dockerfile is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airlock.cli.common import JsonOption, answer, verb
from airlock.core.errors import UnclassifiedError
from airlock.kolla.reading import load_rules
from airlock.kolla.reading.files import FileReading, read_files
from airlock.kolla.reading.image import classify_counts
from airlock.kolla.reading.model import Command


@verb
def classify(
    dockerfiles: Annotated[list[Path], typer.Argument(help="Dockerfiles, in their build contexts.", metavar="FILE")],
    rules: Annotated[Path | None, typer.Option("--rules", help="Further rules (TOML), added to Airlock's own.")] = None,
    no_home: Annotated[bool, typer.Option("--no-home", help="Leave out what stays at home.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show each command of Dockerfiles as home, demand, network-config or unclassified; exit code 4 if any is."""
    readings = read_files(dockerfiles, load_rules(rules))
    commands = [command for one in readings for command in one.reading.commands]
    counts = classify_counts(commands)
    document = {
        "files": [
            {
                "path": one.path,
                "image": one.reading.image,
                "parent": one.parent,
                "parent_path": one.parent_path,
                "counts": classify_counts(one.reading.commands),
                "commands": one.reading.commands,
            }
            for one in readings
        ],
        "counts": counts,
    }
    lines = [line for one in readings for line in _lines(one, no_home)]
    lines.append(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    answer(as_json, document, lines)
    if counts["unclassified"]:
        raise typer.Exit(UnclassifiedError.exit_code)


def _lines(one: FileReading, no_home: bool) -> list[str]:
    shown = [command for command in one.reading.commands if not (no_home and command.kind == "home")]
    found = [line for command in shown for line in _line(command)]
    if one.parent and not one.parent_path and one.reading.unclassified:
        found.append(
            f"  note: the Dockerfile of its parent {one.parent} was not found; nothing is known of what it did"
        )
    return [f"{one.path}", *found]


def _line(command: Command) -> list[str]:
    kind = f"demand {command.demand}" if command.kind == "demand" else command.kind
    words = " ".join(command.argv)
    text = words if len(words) <= 160 else words[:159] + "…"
    lines = [f"  {command.line:>5}  {kind:<26}  {text}"]
    if command.kind == "unclassified":
        lines.append(f"         {command.reason}." + (f" {command.remedy}" if command.remedy else ""))
    return lines
