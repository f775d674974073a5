"""The one way to write a file: into ``.part``, hashed while written, synced, renamed.

Kill the program at any moment: under the final name there is either the whole old file or the whole new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

from airlock.core.digest import CHUNK
from airlock.core.errors import IntegrityError, SpaceError, StateError

PART = ".part"


def fsync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_filesystem(directory: Path) -> None:
    """``syncfs(2)`` of the file system that holds ``directory``: a whole batch made durable at once.

    Raises:
        OSError: the kernel reports that something could not be written.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if libc.syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(handle)


class FileWriter:
    """Writes one file safely; a context manager. ``commit`` is implied by leaving without an exception.

    Args:
        path: the final name; its folder is made.
        durable: sync the file before and the folder after the rename. Switch off where a later
            ``sync_filesystem`` covers a batch before anything names it.
        mode: permission bits of the final file.

    After leaving, ``sha256`` (hexadecimal) and ``size`` (bytes) describe what was written.
    """

    def __init__(self, path: Path, *, durable: bool = True, mode: int = 0o644) -> None:
        self.path = path
        self.part = path.with_name(path.name + PART)
        self.durable = durable
        self.mode = mode
        self.size = 0
        self._digest = hashlib.sha256()
        self._stream: IO[bytes] | None = None

    @property
    def sha256(self) -> str:
        """sha256 of what has been written so far."""
        return self._digest.hexdigest()

    def __enter__(self) -> FileWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # What only its owner may read is so from its first byte.
        self._stream = open(self.part, "wb", opener=lambda path, flags: os.open(path, flags, 0o600))
        return self

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``; the digest follows."""
        assert self._stream is not None
        self._stream.write(data)
        self._digest.update(data)
        self.size += len(data)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._stream is not None
        stream, self._stream = self._stream, None
        if kind is not None:
            stream.close()
            self.part.unlink(missing_ok=True)
            return
        try:
            with stream:
                stream.flush()
                os.fchmod(stream.fileno(), self.mode)
                if self.durable:
                    os.fsync(stream.fileno())
            self.part.replace(self.path)
        except BaseException:
            self.part.unlink(missing_ok=True)
            raise
        if self.durable:
            fsync_directory(self.path.parent)


def write_file(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o644) -> str:
    """Write a whole small file safely and return its sha256."""
    with FileWriter(path, durable=durable, mode=mode) as writer:
        writer.write(data)
    return writer.sha256


def copy_file(source: Path, target: Path, *, sha256: str, size: int, durable: bool = True) -> None:
    """Copy a file, checking it against ``sha256`` and ``size`` while it is read.

    A reflink is not used: the copy is hashed as it is read, so that what lands is what was checked.

    Raises:
        IntegrityError: the source holds other bytes; the target is not touched.
    """
    with source.open("rb", buffering=0) as stream, FileWriter(target, durable=durable) as writer:
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        while count := stream.readinto(buffer):
            writer.write(view[:count])
        if writer.sha256 != sha256 or writer.size != size:
            raise IntegrityError(
                f"{source} is not what its name says: sha256 {writer.sha256}, {writer.size} bytes; "
                f"expected {sha256}, {size} bytes",
                remedy="The copy was refused. Fetch or bring the file again.",
            )


def require_space(directory: Path, needed: int, what: str) -> None:
    """Check before work starts that ``directory``'s file system has ``needed`` bytes to spare (and 16 MiB more).

    Raises:
        SpaceError: it has not.
    """
    place = directory
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed + (16 << 20):
        raise SpaceError(f"{what} needs {needed / 1e6:,.0f} MB at {directory}, which has {free / 1e6:,.0f} MB free")


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold an advisory lock on ``path`` (made when missing); the kernel drops it when the process ends.

    Raises:
        StateError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateError(
                f"{what} is being changed by another airlock process ({path} is locked)",
                remedy="Wait until it has ended, then run the same command again.",
            ) from None
        yield
