"""Versions of collections (Semantic Versioning 2.0.0) and ranges that ask for them, as ansible-galaxy reads both."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
# In a range "2" and "2.1" stand for "2.0.0" and "2.1.0"; a fourth number does not count.
_LOOSE = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.\d+)*([-+].*)?")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne, "==": operator.eq, "=": operator.eq, ">=": operator.ge, ">": operator.gt, "<=": operator.le,
    "<": operator.lt,
}  # fmt: skip
MAX_VERSION = 128

Key = tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]


def version_key(version: str) -> Key:
    """Sorts versions by precedence; what follows a ``+`` does not count.

    Raises:
        ValueError: no semantic version.
    """
    found = _VERSION.fullmatch(version) if len(version) <= MAX_VERSION else None
    if found is None:
        raise ValueError(f"{version[:MAX_VERSION]!r} is no semantic version")
    major, minor, patch, pre = found.groups()
    parts = tuple((not one.isdigit(), int(one) if one.isdigit() else 0, one) for one in (pre or "").split(".") if one)
    # A pre-release comes before its release; numbers before words (11.4).
    return int(major), int(minor), int(patch), not pre, tuple((w, n, t if w else "") for w, n, t in parts)


def is_prerelease(version: str) -> bool:
    """Whether it is one of those that nobody gets without asking for it."""
    return not version_key(version)[3]


def is_pinned(wanted: str) -> bool:
    """Whether a range names one version."""
    return wanted != "*" and not wanted.startswith(("<", ">", "!="))


def meets(version: str, wanted: str) -> bool:
    """Whether a version is in a range: ``>=2.0.0,<3``, ``1.2.3``, ``*``.

    Raises:
        ValueError: the range is none.
    """
    for one in wanted.split(","):
        sign = next((sign for sign in _OPERATORS if one.startswith(sign)), "")
        bound = one.removeprefix(sign)
        if bound == "*":
            continue
        found = _LOOSE.fullmatch(bound) if len(bound) <= MAX_VERSION else None
        if found is None:
            raise ValueError(f"{wanted[:MAX_VERSION]!r} is no range of versions")
        numbers = ".".join(str(int(number or 0)) for number in found.groups()[:3])
        if not _OPERATORS[sign or "=="](version_key(version), version_key(numbers + (found[4] or ""))):
            return False
    return True
