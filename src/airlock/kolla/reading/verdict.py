"""What a handler says about a command, and which kind says more."""

from __future__ import annotations

import msgspec

from airlock.kolla.reading.model import Detail, Kind
from airlock.kolla.reading.words import Word

_ORDER = {"home": 0, "network-config": 1, "demand": 2, "unclassified": 3}


class Verdict(msgspec.Struct):
    """``output``: what the command prints, where that is known; ``reason``: a remark on a home command."""

    kind: Kind
    demand: str = ""
    detail: Detail | None = None
    output: Word | None = None
    reason: str = ""


def worst(first: Kind, second: Kind) -> Kind:
    """The kind that says more."""
    return first if _ORDER[first] >= _ORDER[second] else second
