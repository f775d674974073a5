"""Words of a command as the shell would hand them over, as far as that can be told without running it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec


class PartKind(Enum):
    """LITERAL: these very characters. GLOB: active pattern characters. UNKNOWN: text that only a run would tell."""

    LITERAL = 1
    GLOB = 2
    UNKNOWN = 3


class Part(msgspec.Struct, frozen=True):
    """A stretch of a word.

    ``splits``: an unknown one, unquoted, that the shell may split into any number of words. ``atomic``: an unknown
    one that surely holds no white space, so that it stays one word even unquoted. ``segment``: and no slash either.
    """

    kind: PartKind
    text: str
    splits: bool = False
    atomic: bool = False
    segment: bool = False


class Word(msgspec.Struct, frozen=True):
    """One word after expansion."""

    parts: tuple[Part, ...]

    @property
    def known(self) -> str | None:
        """The exact text, or None if anything of it is a pattern or unknown."""
        if all(part.kind is PartKind.LITERAL for part in self.parts):
            return "".join(part.text for part in self.parts)
        return None

    @property
    def pattern(self) -> str | None:
        """The text with patterns left as they are, or None if anything is unknown."""
        if any(part.kind is PartKind.UNKNOWN for part in self.parts):
            return None
        return "".join(part.text for part in self.parts)

    @property
    def globs(self) -> bool:
        """Whether the shell would look for files that match."""
        return any(part.kind is PartKind.GLOB for part in self.parts)

    @property
    def splits(self) -> bool:
        """Whether it may become any number of words, among them options."""
        return any(part.splits for part in self.parts)

    @property
    def prefix(self) -> str:
        """The characters it surely begins with."""
        text = ""
        for part in self.parts:
            if part.kind is not PartKind.LITERAL:
                break
            text += part.text
        return text

    @property
    def text(self) -> str:
        """For people: unknown parts between ⟨ and ⟩."""
        return "".join(f"⟨{part.text}⟩" if part.kind is PartKind.UNKNOWN else part.text for part in self.parts)

    def stored(self) -> Word:
        """The same value kept in a variable: patterns are plain characters there, nothing splits yet."""
        return Word(merge(_stored(part) for part in self.parts))

    def quoted(self) -> Word:
        """The value of a variable used between double quotes."""
        return Word(tuple(msgspec.structs.replace(part, splits=False) for part in self.parts))


def _stored(part: Part) -> Part:
    if part.kind is PartKind.GLOB:
        return Part(PartKind.LITERAL, part.text)
    return msgspec.structs.replace(part, splits=False)


def literal(text: str) -> Word:
    """A word of exactly ``text``."""
    return Word((Part(PartKind.LITERAL, text),) if text else ())


def unknown(source: str, *, splits: bool = False, atomic: bool = False) -> Word:
    """A word nobody can tell; ``source`` is how it is written."""
    return Word((Part(PartKind.UNKNOWN, source, splits, atomic),))


def merge(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Adjacent literal parts put together."""
    merged: list[Part] = []
    for part in parts:
        if merged and part.kind is merged[-1].kind is PartKind.LITERAL:
            merged[-1] = Part(PartKind.LITERAL, merged[-1].text + part.text)
        elif part.text or part.kind is PartKind.UNKNOWN:
            merged.append(part)
    return tuple(merged)
