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
    """A stretch of a word; ``splits``: an unknown one that the shell may split into any number of words."""

    kind: PartKind
    text: str
    splits: bool = False


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

    def unquoted(self) -> Word:
        """The same value after being stored in a variable: patterns become plain characters."""
        return Word(tuple(Part(PartKind.LITERAL, p.text) if p.kind is PartKind.GLOB else p for p in self.parts))


def literal(text: str) -> Word:
    """A word of exactly ``text``."""
    return Word((Part(PartKind.LITERAL, text),) if text else ())


def unknown(source: str, *, splits: bool = False) -> Word:
    """A word nobody can tell; ``source`` is how it is written."""
    return Word((Part(PartKind.UNKNOWN, source, splits),))


def merge(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Adjacent literal parts put together."""
    merged: list[Part] = []
    for part in parts:
        if merged and part.kind is merged[-1].kind is PartKind.LITERAL:
            merged[-1] = Part(PartKind.LITERAL, merged[-1].text + part.text)
        elif part.text or part.kind is PartKind.UNKNOWN:
            merged.append(part)
    return tuple(merged)
