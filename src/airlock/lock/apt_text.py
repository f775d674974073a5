"""Debian's control format (deb-control(5)), as little of it as a resolver needs: stanzas stay the text they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_FIELD = re.compile(r"^([!-9;-~]+):[ \t]*(.*)$", re.MULTILINE)

# What is about the file and its listing, not about the package once it is installed.
LISTING_FIELDS = frozenset({"filename", "size", "md5sum", "sha1", "sha256", "sha512", "description-md5"})


def fields(stanza: str) -> dict[str, str]:
    """Field name in lower case → first line of its value (enough for all but descriptions)."""
    return {match[1].lower(): match[2].strip() for match in _FIELD.finditer(stanza)}


def split_fields(stanza: str) -> Iterator[tuple[str, str]]:
    """(name in lower case, whole text with continuation lines and final newline) of every field, in order."""
    name, lines = "", [""]
    for line in stanza.splitlines(keepends=True):
        if line[:1] not in (" ", "\t"):
            if name:
                yield name, "".join(lines)
            name, lines = line.split(":", 1)[0].lower(), []
        lines.append(line if line.endswith("\n") else line + "\n")
    if name:
        yield name, "".join(lines)


def without(stanza: str, names: Iterable[str]) -> str:
    """The stanza less some fields (lower case)."""
    dropped = frozenset(names)
    return "".join(text for name, text in split_fields(stanza) if name not in dropped)


def with_field(stanza: str, name: str, value: str) -> str:
    """The stanza with one single-line field replaced where it stands, or appended."""
    line = f"{name}: {value}\n"
    parts = list(split_fields(stanza))
    if not any(key == name.lower() for key, _ in parts):
        return "".join(text for _, text in parts) + line
    return "".join(line if key == name.lower() else text for key, text in parts)


def installed_stanza(stanza: str) -> str:
    """A stanza of Packages as dpkg's status has it once the package is installed."""
    parts = [(name, text) for name, text in split_fields(stanza) if name not in LISTING_FIELDS]
    head, rest = parts[:1], parts[1:]
    return "".join([*(text for _, text in head), "Status: install ok installed\n", *(text for _, text in rest)])
