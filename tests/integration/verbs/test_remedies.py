"""What a message or a page tells people to type exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from tests.integration.faults.airlock_runs import ROOT

from airlock.cli.main import make_app

COMMAND = re.compile(r"\bairlock (?P<verb>[a-z]+)(?P<rest>(?: [^`\n|]*)?)[`\n|]")
PLACES = [
    *sorted((ROOT / "src/airlock").rglob("*.py")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "README.md",
]


def named(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(verb, options) of every command in backquotes or in a block."""
    for found in COMMAND.finditer(path.read_text().replace('" + ', "").replace(' + "', "")):
        yield found["verb"], re.findall(r"(?<![\w-])--[a-z][a-z-]*", found["rest"])


@pytest.mark.parametrize("path", PLACES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_that_people_are_told_to_type_exists(path: Path) -> None:
    group = typer.main.get_command(make_app())
    commands = group.commands  # type: ignore[attr-defined]
    for verb, options in named(path):
        if verb not in commands:
            assert not options, f"{path}: airlock {verb} {options}"
            continue
        known = {option for parameter in commands[verb].params for option in parameter.opts} | {"--help"}
        assert set(options) <= known, f"{path}: airlock {verb} has no {sorted(set(options) - known)}"
