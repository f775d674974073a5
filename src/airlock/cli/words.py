"""Numbers with their nouns, for people."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """``1 image``, ``2 images``; ``many`` where it is not the singular and an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
