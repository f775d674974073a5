"""Paths that cannot leave their root: every name that comes from outside goes through here."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from airlock.core.errors import IntegrityError

MAX_PATH = 1024
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")


def safe_relative(name: str) -> PurePosixPath:
    """A relative POSIX path that stays below whatever it is joined to.

    Raises:
        IntegrityError: ``name`` is empty, absolute, too long, climbs (``..``), is not normalised, or holds
            control characters or a backslash.
    """
    path = PurePosixPath(name)
    if (
        not name
        or len(name.encode()) > MAX_PATH
        or _UNSAFE.search(name)
        or path.is_absolute()
        or str(path) != name
        or any(part in ("", ".", "..") or len(part.encode()) > 255 for part in path.parts)
    ):
        raise IntegrityError(
            f"unsafe path {name!r}", remedy="Nothing was written. Do not trust the source of this name."
        )
    return path


def rooted(root: Path, name: str) -> Path:
    """``root / name`` where ``name`` comes from outside; no part of it below ``root`` may be a symbolic link.

    Raises:
        IntegrityError: the name is unsafe or leads through a symbolic link.
    """
    relative = safe_relative(name)
    current = root
    for part in relative.parts:
        current = current / part
        if current.is_symlink():
            raise IntegrityError(f"{name!r} leads through a symbolic link at {current}")
    return current


def safe_component(name: str) -> str:
    """One path component (a file name, a bundle id) from outside.

    Raises:
        IntegrityError: it is unsafe or has more than one component.
    """
    if len(safe_relative(name).parts) != 1:
        raise IntegrityError(f"{name!r} is not a plain name")
    return name
