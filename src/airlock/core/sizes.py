"""Bytes for people: powers of ten, as disks and media are sold."""

from __future__ import annotations


def size_words(count: int) -> str:
    """``12 B``, ``3.4 kB``, ``1,234.5 MB`` or ``9.8 GB``."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:,.1f} {unit}"
    return f"{count} B"
