"""Instructions of a Dockerfile with the physical line of every byte, by the official parser (Go, as ``dockerfile``).

The parser returns what it does not know instead of refusing it and keeps no lines inside a RUN; so the lines are
joined here a second time, by the rules of BuildKit's ``frontend/dockerfile/parser``, and must come out the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import dockerfile as go_parser  # type: ignore[import-not-found]
import msgspec

MAX_SIZE = 4 << 20

_CONTINUATION = re.compile(r"([^\\])\\[ \t]*$|^\\[ \t]*$")
_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9]*)[ \t]*=")
# Anything but tab and newline that a terminal, an editor or Go's unicode.IsSpace treats specially.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]")


class DockerfileError(Exception):
    """The text cannot be read as a Dockerfile without doubt: ``line`` (from 1) and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class Instruction(msgspec.Struct, frozen=True):
    """One instruction.

    ``name`` in upper case, ``line`` its first physical line, ``words`` as the parser split them, ``flags`` (``--x``),
    ``json`` whether it took the arguments as a JSON array, ``text`` everything after the name and the flags, and
    ``lines``: for each byte of ``text`` in UTF-8, its physical line.
    """

    name: str
    line: int
    words: tuple[str, ...]
    flags: tuple[str, ...]
    json: bool
    heredoc: bool
    text: str
    lines: tuple[int, ...]

    def line_of(self, offset: int) -> int:
        """Physical line of byte ``offset`` of ``text``."""
        if not self.lines:
            return self.line
        return self.lines[min(max(offset, 0), len(self.lines) - 1)]


def _join(physical: Sequence[str], start: int, end: int) -> tuple[str, list[int]]:
    """Join the physical lines ``start``..``end`` (from 1) as BuildKit does; a line number for each character."""
    text: list[str] = []
    lines: list[int] = []
    for number in range(start, end + 1):
        raw = physical[number - 1]
        if number == start:
            raw = raw.lstrip()
        elif raw.lstrip().startswith("#") or not raw.strip():
            continue
        match = _CONTINUATION.search(raw)
        part = raw[: match.start()] + (match.group(1) or "") if match else raw
        text.append(part)
        lines += [number] * len(part)
        if not match:
            break
    return "".join(text), lines


def _instruction(command: Any, physical: Sequence[str]) -> Instruction:
    start = int(command.start_line)
    joined, lines = _join(physical, start, int(command.end_line))
    heredoc = bool(command.heredocs) or "\n" in command.original
    if not heredoc and joined.strip() != command.original.strip():
        raise DockerfileError(start, "the lines of this instruction can be joined in more than one way")
    name = joined.split(None, 1)[0]
    position = len(name)
    for flag in command.flags:
        position = joined.index(flag, position) + len(flag)
    while position < len(joined) and joined[position].isspace():
        position += 1
    text = joined[position:].rstrip()
    byte_lines: list[int] = []
    for character, number in zip(text, lines[position:], strict=False):
        byte_lines += [number] * len(character.encode())
    words = tuple(command.value)
    if name.upper() == "RUN" and not command.json and not heredoc and (len(words) != 1 or words[0] != text):
        raise DockerfileError(start, "the parser and this program disagree about the text of this RUN")
    return Instruction(
        name.upper(), start, words, tuple(command.flags), bool(command.json), heredoc, text, tuple(byte_lines)
    )


def parse(text: str) -> tuple[Instruction, ...]:
    """The instructions of a Dockerfile in order.

    Raises:
        DockerfileError: it does not parse, is larger than 4 MiB, holds control characters, a carriage return or a
            parser directive (``# syntax=``, ``# escape=``), or its lines are ambiguous.
    """
    if len(text) > MAX_SIZE:
        raise DockerfileError(1, "the file is larger than 4 MiB")
    if match := _CONTROL.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise DockerfileError(line, f"the control or unusual space character U+{ord(match.group()):04X}")
    physical = text.split("\n")
    for number, content in enumerate(physical, 1):
        if not content.lstrip().startswith("#"):
            if content.strip():
                break
            continue
        if match := _DIRECTIVE.match(content.lstrip()):
            raise DockerfileError(number, f"the parser directive {match.group(1)}= changes how this file is read")
    try:
        commands = go_parser.parse_string(text)
    except (go_parser.GoParseError, ValueError) as error:
        found = re.search(r"line (\d+)", str(error))
        raise DockerfileError(int(found.group(1)) if found else 1, f"not a Dockerfile: {error}") from error
    return tuple(_instruction(command, physical) for command in commands)
