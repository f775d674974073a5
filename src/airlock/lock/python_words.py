"""Requirements as pip commands give them, and what of it cannot be locked."""

from __future__ import annotations

import re
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement

from airlock.core.errors import ResolutionError

_COMMENT = re.compile(r"(^|\s)#.*$")


def requirement_lines(texts: Iterable[str], where: str) -> list[str]:
    """The requirements in requirement files; options in them are refused, since they change where pip looks.

    Raises:
        ResolutionError: a file holds an option.
    """
    found: list[str] = []
    for text in texts:
        for raw in text.replace("\\\n", " ").splitlines():
            words = _COMMENT.sub("", raw).strip()
            if words.startswith("-"):
                raise ResolutionError(f"{where}: a requirements file holds {words!r}", remedy=_ONLY)
            if words:
                found.append(words.partition(" --hash")[0].strip())
    return found


_ONLY = "Only PEP 508 requirements can be locked: override the block of the Dockerfile that names it."


def check_requirements(requirements: Iterable[str], where: str) -> None:
    """Refuse what is no PEP 508 requirement on the index.

    Raises:
        ResolutionError: one is not; names it.
    """
    for text in requirements:
        try:
            found = Requirement(text)
        except InvalidRequirement:
            raise ResolutionError(f"{where}: {text!r} is no requirement", remedy=_ONLY) from None
        if found.url:
            raise ResolutionError(f"{where}: {text!r} comes from an address of its own", remedy=_ONLY)
