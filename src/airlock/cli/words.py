"""Numbers with their nouns, and lists, for people."""

from __future__ import annotations

from collections.abc import Mapping


def counted(number: int, one: str, many: str = "") -> str:
    """``1 image``, ``2 images``; ``many`` where it is not the singular and an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def left_out_lines(left_out: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What the definition selects and does not build, for a person."""
    return [
        line
        for arch, images in left_out.items()
        if images
        for line in (
            f"{counted(len(images), 'image')} left out ({arch}):",
            *(f"  {image}: {reason}" for image, reason in images.items()),
        )
    ]
