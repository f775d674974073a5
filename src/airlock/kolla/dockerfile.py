"""Instructions of a Dockerfile with the physical line of every byte, read twice where that can be.

Lines are joined by the rules of BuildKit's ``frontend/dockerfile/parser``, words split by ``kolla.dockerfile_words``.
Where the official parser is installed (Go, as ``dockerfile``; it has wheels for x86_64 alone and keeps no lines inside
a RUN), it reads the same text, and a text that the two read otherwise is refused.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from airlock.kolla.dockerfile_words import WordsError, known, may_hold_heredoc, split

MAX_SIZE = 4 << 20

try:
    _go_parser: Any = importlib.import_module("dockerfile")
except ImportError:  # no wheel for this machine
    _go_parser = None

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


def _logical_lines(physical: Sequence[str]) -> Iterator[tuple[int, str, list[int]]]:
    """Join physical lines as BuildKit does: the first line's number, the text, a line number for each character."""
    number = 0
    while number < len(physical):
        text, lines, first = "", [], 0
        while number < len(physical):
            raw = physical[number]
            number += 1
            if raw.lstrip().startswith("#") or not raw.strip():
                if first:
                    continue
                break
            part, first = (raw, first) if first else (raw.lstrip(), number)
            match = _CONTINUATION.search(part)
            part = part[: match.start()] + (match.group(1) or "") if match else part
            text += part
            lines += [number] * len(part)
            if not match:
                break
        if first and not text.strip():
            raise DockerfileError(first, "a continued line without an instruction")
        if first:
            yield first, text, lines


def _instruction(start: int, joined: str, lines: Sequence[int]) -> Instruction:
    name, rest = re.fullmatch(r"\s*(\S+)(.*)", joined.rstrip(), re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        flags, text, words, as_json = split(name.upper(), rest)
    except WordsError as error:
        raise DockerfileError(start, f"{name.upper()}: {error}") from None
    position = len(joined.rstrip()) - len(text)
    byte_lines: list[int] = []
    for character, number in zip(text, lines[position:], strict=False):
        byte_lines += [number] * len(character.encode())
    heredoc = may_hold_heredoc(name.upper(), text)
    return Instruction(name.upper(), start, words, flags, as_json, heredoc, text, tuple(byte_lines))


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
    found = tuple(_instruction(*line) for line in _logical_lines(physical))
    if not found:
        raise DockerfileError(1, "no instruction")
    if _go_parser is not None:
        _compare(found, _go_parser, text)
    return found


def _compare(found: Sequence[Instruction], go_parser: Any, text: str) -> None:
    """See that the official parser reads the same, up to where a here-document makes lines mean something else."""
    try:
        commands = go_parser.parse_string(text)
    except (go_parser.GoParseError, ValueError) as error:
        number = re.search(r"line (\d+)", str(error))
        raise DockerfileError(int(number.group(1)) if number else 1, f"not a Dockerfile: {error}") from error
    for one, command in zip(found, commands, strict=False):
        if one.heredoc:
            return
        if command.heredocs or (one.name, one.line) != (command.cmd.upper(), command.start_line):
            raise DockerfileError(one.line, "the lines of this instruction can be joined in more than one way")
        if not known(one.name):
            continue
        if (one.flags, one.words, one.json) != (tuple(command.flags), tuple(command.value), command.json):
            raise DockerfileError(one.line, f"the official parser takes this {one.name} apart in another way")
    if len(found) != len(commands):
        raise DockerfileError(found[-1].line, "the official parser finds another number of instructions")
