"""A disk that fills up while something is written."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from airlock.core.errors import SpaceError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The disk or the user's quota is full."""


@contextlib.contextmanager
def space_error(place: Path, what: str) -> Iterator[None]:
    """Turn a disk that is full while writing into the error that says so.

    Raises:
        SpaceError: the disk or the user's quota is full. What is written so far is whole and is kept.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise SpaceError(f"the disk of {place} is full; {what} could not be written") from None
