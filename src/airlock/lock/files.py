"""Where a lock lies on disk."""

from __future__ import annotations

from pathlib import Path

from airlock.core.errors import UsageError
from airlock.core.files import write_file
from airlock.lock.model import Lock, read_lock

MAX_LOCK = 256 << 20


def load_lock(path: Path) -> Lock:
    """Read a lock file.

    Raises:
        UsageError: there is none.
        FormatError: it is not one.
    """
    try:
        if path.stat().st_size > MAX_LOCK:
            raise UsageError(f"{path} is larger than a lock can be")
        return read_lock(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UsageError(f"there is no lock at {path}", remedy="Write it first: airlock lock DEFINITION.") from None


def save_lock(path: Path, lock: Lock) -> None:
    """Write a lock file safely."""
    write_file(path, lock.to_bytes())
