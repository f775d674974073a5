"""Versions, ranges and platforms of gems, as RubyGems reads them (Gem::Version, Gem::Requirement, Gem::Platform)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import total_ordering
from typing import Any

MAX = 256
_VERSION = re.compile(r"[0-9]+(?:\.[0-9a-zA-Z]+)*(?:-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?")
_REQUIREMENT = re.compile(r"\s*(?P<sign>=|!=|>=|<=|>|<|~>)?\s*(?P<version>\S+)\s*")


@total_ordering
class GemVersion:
    """Ordered as RubyGems orders them: a letter makes a pre-release, zeros at the end do not count.

    Raises:
        ValueError: no version.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX or not _VERSION.fullmatch(text):
            raise ValueError(f"{text[:MAX]!r} is no version of a gem")
        self.text = text
        parts = re.findall(r"[0-9]+|[a-zA-Z]+", text.replace("-", ".pre."))
        self.segments: list[int | str] = [int(one) if one.isdigit() else one for one in parts]

    @property
    def prerelease(self) -> bool:
        """Whether nobody gets it without asking for it."""
        return any(isinstance(one, str) for one in self.segments)

    @property
    def release(self) -> GemVersion:
        """What it is a pre-release of."""
        if not self.prerelease:
            return self
        first = next(at for at, one in enumerate(self.segments) if isinstance(one, str))
        return GemVersion(".".join(str(one) for one in self.segments[:first]))

    def bump(self) -> GemVersion:
        """The version that ``~>`` stops before."""
        numbers = [one for one in self.release.segments if isinstance(one, int)]
        kept = numbers[:-1] if len(numbers) > 1 else numbers
        return GemVersion(".".join(str(one) for one in [*kept[:-1], kept[-1] + 1]))

    @property
    def _key(self) -> tuple[tuple[bool, int, str], ...]:
        """A word is below any number, also below the 0 that a shorter version goes on with."""
        keys = [(isinstance(one, int), one, "") if isinstance(one, int) else (False, 0, one) for one in self.segments]
        while keys and keys[-1] == (True, 0, ""):
            keys.pop()
        return tuple(keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GemVersion) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __lt__(self, other: GemVersion) -> bool:
        one, two = list(self._key), list(other._key)
        length = max(len(one), len(two))
        zero = (True, 0, "")
        return one + [zero] * (length - len(one)) < two + [zero] * (length - len(two))

    def __repr__(self) -> str:
        return self.text


_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
    "~>": lambda version, wanted: version >= wanted and version.release < wanted.bump(),
}  # fmt: skip

Bound = tuple[str, str]


def parse_requirements(texts: Sequence[str]) -> tuple[Bound, ...]:
    """(sign, version) of each; none is ``>= 0``.

    Raises:
        ValueError: one is no requirement.
    """
    found: list[Bound] = []
    for text in texts:
        match = _REQUIREMENT.fullmatch(text) if len(text) <= MAX else None
        if match is None:
            raise ValueError(f"{text[:MAX]!r} is no range of versions")
        found.append((match["sign"] or "=", GemVersion(match["version"]).text))
    return tuple(found) or ((">=", "0"),)


def satisfied(bounds: Sequence[Bound], version: GemVersion) -> bool:
    """Whether a version is within all of them."""
    return all(_SIGNS[sign](version, GemVersion(bound)) for sign, bound in bounds)


def asks_for_prerelease(bounds: Sequence[Bound]) -> bool:
    """Whether one of them names a pre-release: then pre-releases are among the candidates."""
    return any(GemVersion(bound).prerelease for _, bound in bounds)


def shown(bounds: Sequence[Bound]) -> str:
    """As people write them."""
    return ", ".join(f"{sign} {bound}" for sign, bound in bounds)


def fits_platform(platform: str, cpu: str) -> bool:
    """Whether a gem is for Linux on that processor, with glibc, or for any machine (``ruby``)."""
    return platform in ("ruby", f"{cpu}-linux", f"{cpu}-linux-gnu", "universal-linux")
