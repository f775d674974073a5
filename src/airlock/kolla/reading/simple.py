"""A simple command after its words are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from airlock.kolla.reading.words import Word


class Redirect(msgspec.Struct, frozen=True):
    """One redirect: operator (``>``, ``>>``, ``<`` …) and the target's word."""

    operator: str
    target: Word


class Simple(msgspec.Struct, frozen=True):
    """One simple command: assignments before it, its words and their nodes, redirects, offset of its first byte."""

    assigns: list[tuple[str, Word]]
    words: list[Word]
    nodes: Sequence[dict[str, Any]]
    redirects: list[Redirect]
    offset: int
