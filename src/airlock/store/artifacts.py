"""The site's artifact store: files under stable paths, the same in a directory, behind nginx or in a raw repository.

Only what plain GET, HEAD and PUT can do is asked of it. A file of the store is named by its sha256 somewhere in its
path or in a manifest; nothing in it is ever changed to hold other bytes, except to mend it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from airlock.core.digest import sha256_file
from airlock.core.errors import IntegrityError
from airlock.core.files import PART, copy_file, require_space, sync_filesystem, write_file
from airlock.core.paths import rooted
from airlock.core.space import space_error


class StoredFile(msgspec.Struct, frozen=True, order=True):
    """A file that the store holds: relative path and size in bytes."""

    path: str
    size: int


class ArtifactStore(Protocol):
    """What a site needs of the place where its artifacts lie. Paths are relative POSIX paths.

    A ``put`` counts only after ``sync``; only what ``digest`` gave back afterwards is known to be there.
    """

    def put(self, path: str, source: Path, *, sha256: str, size: int) -> None:
        """Store a file, hashed while it is read. Raises IntegrityError when the source holds other bytes."""

    def put_bytes(self, path: str, data: bytes) -> None:
        """Store a small file."""

    def open(self, path: str) -> BinaryIO:
        """A file for reading. Raises FileNotFoundError."""

    def read_bytes(self, path: str, limit: int) -> bytes:
        """A whole small file of at most ``limit`` bytes. Raises FileNotFoundError, IntegrityError when larger."""

    def fetch(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """Copy a file to ``target``. Raises FileNotFoundError; IntegrityError when it holds other bytes."""

    def size(self, path: str) -> int | None:
        """Size in bytes, None when it is not there."""

    def exists(self, path: str, size: int) -> bool:
        """Whether a file of that size is there; its content is another question."""

    def digest(self, path: str) -> tuple[str, int] | None:
        """(sha256, size) of what the store itself gives back now, None when it is not there."""

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """Files below a folder, sorted; nothing when there is none."""

    def require(self, needed: int, what: str) -> None:
        """Check that there is room for ``needed`` bytes. Raises SpaceError."""

    def sync(self) -> None:
        """Make durable what was put."""


class DirectoryStore:
    """An ``ArtifactStore`` in a directory, for one machine or behind any web server.

    Args:
        root: the directory; made when first written to. It may be a symbolic link, nothing in it is followed as one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, path: str) -> Path:
        """Where a file of the store is or would be.

        Raises:
            IntegrityError: the path is unsafe or leads through a symbolic link.
        """
        return rooted(self.root, path)

    def put(self, path: str, source: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactStore.put``. Raises SpaceError when the disk is full."""
        with space_error(self.root, path):
            copy_file(source, self.path(path), sha256=sha256, size=size, durable=False)

    def put_bytes(self, path: str, data: bytes) -> None:
        """See ``ArtifactStore.put_bytes``. This one is durable at once."""
        with space_error(self.root, path):
            write_file(self.path(path), data)

    def open(self, path: str) -> BinaryIO:
        """See ``ArtifactStore.open``."""
        return self.path(path).open("rb")

    def read_bytes(self, path: str, limit: int) -> bytes:
        """See ``ArtifactStore.read_bytes``."""
        with self.open(path) as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise IntegrityError(f"{path} in {self.root} is larger than {limit} bytes")
        return data

    def fetch(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactStore.fetch``."""
        copy_file(self.path(path), target, sha256=sha256, size=size, durable=False)

    def size(self, path: str) -> int | None:
        """See ``ArtifactStore.size``."""
        try:
            found = self.path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def exists(self, path: str, size: int) -> bool:
        """See ``ArtifactStore.exists``."""
        return self.size(path) == size

    def digest(self, path: str) -> tuple[str, int] | None:
        """See ``ArtifactStore.digest``. What is synced already is read from the disk, not from the page cache."""
        place = self.path(path)
        if self.size(path) is None:
            return None
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)
        return sha256_file(place)

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """See ``ArtifactStore.list``. Unfinished files are left out."""
        for folder, folders, files in os.walk(self.path(prefix)):
            folders.sort()
            for name in sorted(files):
                place = Path(folder, name)
                if not name.endswith(PART) and place.is_file() and not place.is_symlink():
                    yield StoredFile(place.relative_to(self.root).as_posix(), place.stat().st_size)

    def require(self, needed: int, what: str) -> None:
        """See ``ArtifactStore.require``."""
        require_space(self.root, needed, what)

    def sync(self) -> None:
        """See ``ArtifactStore.sync``."""
        self.root.mkdir(parents=True, exist_ok=True)
        sync_filesystem(self.root)
