"""The pages of the formats tell of every field, and of none that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from airlock.bundle.manifest import Manifest
from airlock.bundle.media import Kind
from airlock.bundle.stored import Commit
from airlock.evidence.ledger import Entry
from airlock.lock import model

FORMATS = Path(__file__).parents[3] / "docs" / "formats"


def fields(table: type, prefix: str = "") -> Iterator[str]:
    hints = get_type_hints(table)
    for field in msgspec.structs.fields(table):
        yield prefix + field.encode_name
        for inner in (hints[field.name], *get_args(hints[field.name])):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                yield from fields(inner, f"{prefix}{field.encode_name}.")


@pytest.mark.parametrize(
    ("page", "title", "table"),
    [
        ("bundle.md", "## MANIFEST.json", Manifest),
        ("bundle.md", "## In a site's store", Commit),
        ("ledger.md", "# The ledger", Entry),
        ("lock.md", '## First line: `"type": "lock"`', model.Header),
        ("lock.md", '## `"type": "image"`', model.Image),
        ("lock.md", '## `"type": "demand"`', model.Demand),
        ("lock.md", '## `"type": "artifact"`', model.Artifact),
    ],
)
def test_every_field_has_its_line(page: str, title: str, table: type) -> None:
    text = (FORMATS / page).read_text("utf-8")
    section = re.split(r"^##? ", text[text.index(title) + len(title) :], flags=re.MULTILINE)[0]
    first_table = section[section.index("| field |") :].split("\n\n")[0]
    assert re.findall(r"^\| `([\w.]+)` \|", first_table, re.MULTILINE) == list(fields(table))


def test_every_kind_of_demand_is_explained() -> None:
    text = (FORMATS / "lock.md").read_text("utf-8")
    rows = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    assert set(get_args(model.Kind)) <= rows
    for word in (*get_args(model.Trust), *get_args(model.ArtifactKind)):
        assert f"`{word}`" in text


def test_every_kind_of_finding_is_explained() -> None:
    text = (FORMATS.parent / "verbs" / "verify.md").read_text("utf-8")
    assert set(get_args(Kind)) == set(re.findall(r"^\| (\w+(?: \w+)?) \|", text, re.MULTILINE)) - {"kind", "option"}
