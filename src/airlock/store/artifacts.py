"""The site's artifact store: files under stable paths, the same in a directory, behind nginx or in a raw repository.

Only what plain GET, HEAD and PUT can do is asked of it. A file of the store is named by its sha256 somewhere in its
path or in a manifest; nothing in it is ever changed to hold other bytes, except to mend it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from airlock.core.digest import CHUNK, sha256_file
from airlock.core.errors import IntegrityError
from airlock.core.files import PART, copy_file, require_space, sync_filesystem, write_file
from airlock.core.paths import rooted
from airlock.core.space import space_error


def store_path(sha256: str, file: str) -> str:
    """Where the content of that sha256 lies in a store, under its own name, since pip reads names from addresses."""
    return f"pool/{sha256[:2]}/{sha256}/{file}"


class StoredFile(msgspec.Struct, frozen=True, order=True):
    """A file that the store holds: relative path, size in bytes; the sha256 it was stored with where that is told."""

    path: str
    size: int
    sha256: str = ""


class ArtifactSource(Protocol):
    """What is read of a place where artifacts lie: by builds, and by whoever checks. Paths are relative POSIX paths.

    It may be used from several threads.
    """

    @property
    def name(self) -> str:
        """Where it is, for people and records; never a secret."""

    @property
    def streams(self) -> int:
        """How many files at a time are best read or written."""

    def read_bytes(self, path: str, limit: int) -> bytes:
        """A whole small file of at most ``limit`` bytes. Raises FileNotFoundError, IntegrityError when larger."""

    def local(self, path: str) -> Path | None:
        """The file itself where the store's files are files of this machine, there or not; else None."""

    def fetch(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """Copy a file to ``target``. Raises FileNotFoundError; IntegrityError when it holds other bytes."""

    def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file, unchecked. Raises FileNotFoundError before the first."""

    def digest(self, path: str) -> tuple[str, int] | None:
        """(sha256, size) of what the store itself gives back now, None when it is not there.

        The sha256 is empty where the store has the file on its books but cannot give back its bytes.
        """


class ArtifactStore(ArtifactSource, Protocol):
    """What a site needs of the place where its artifacts lie.

    A ``put`` counts only after ``sync``; only what ``digest`` gave back afterwards is known to be there. A store is a
    context manager: leaving it gives back what it holds open.
    """

    @property
    def breaks(self) -> int:
        """How often the store went away while it was used: what it said it had stored just before may be lost."""

    def ready(self) -> None:
        """See that it answers and is what the settings say. Raises UsageError, UpstreamError."""

    def put(self, path: str, source: Path, *, sha256: str, size: int) -> None:
        """Store a file, hashed while it is read. Raises IntegrityError when the source holds other bytes."""

    def put_bytes(self, path: str, data: bytes) -> None:
        """Store a small file."""

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """Files below a folder (all for an empty one), in an order of the store's own; nothing when there is none."""

    def free(self) -> int | None:
        """Bytes that there is room for, None where that cannot be told."""

    def require(self, needed: int, what: str) -> bool:
        """Check that there is room for ``needed`` bytes; False where that cannot be told. Raises SpaceError."""

    def sync(self) -> None:
        """Make durable what was put, as far as this side can."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class DirectoryStore:
    """An ``ArtifactStore`` in a directory, for one machine or behind any web server.

    Args:
        root: the directory; made when first written to. It may be a symbolic link, nothing in it is followed as one.
    """

    streams = 2
    breaks = 0

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The directory."""
        return str(self.root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def path(self, path: str) -> Path:
        """Where a file of the store is or would be.

        Raises:
            IntegrityError: the path is unsafe or leads through a symbolic link.
        """
        return rooted(self.root, path)

    def ready(self) -> None:
        """See ``ArtifactStore.ready``: it is made when it is first written to."""

    def put(self, path: str, source: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactStore.put``. Raises SpaceError when the disk is full."""
        with space_error(self.root, path):
            copy_file(source, self.path(path), sha256=sha256, size=size, durable=False)

    def put_bytes(self, path: str, data: bytes) -> None:
        """See ``ArtifactStore.put_bytes``. This one is durable at once."""
        with space_error(self.root, path):
            write_file(self.path(path), data)

    def read_bytes(self, path: str, limit: int) -> bytes:
        """See ``ArtifactStore.read_bytes``."""
        with self.path(path).open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise IntegrityError(f"{path} in {self.root} is larger than {limit} bytes")
        return data

    def local(self, path: str) -> Path | None:
        """See ``ArtifactStore.local``."""
        return self.path(path)

    def fetch(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactStore.fetch``."""
        copy_file(self.path(path), target, sha256=sha256, size=size, durable=False)

    async def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """See ``ArtifactStore.stream``."""
        with self.path(path).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def size(self, path: str) -> int | None:
        """Size in bytes, None when it is not there."""
        try:
            found = self.path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

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
        """See ``ArtifactStore.list``. Sorted; unfinished files are left out."""
        for folder, folders, files in os.walk(self.path(prefix) if prefix else self.root):
            folders.sort()
            for name in sorted(files):
                place = Path(folder, name)
                if not name.endswith(PART) and place.is_file() and not place.is_symlink():
                    yield StoredFile(place.relative_to(self.root).as_posix(), place.stat().st_size)

    def free(self) -> int | None:
        """See ``ArtifactStore.free``."""
        place = self.root
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def require(self, needed: int, what: str) -> bool:
        """See ``ArtifactStore.require``."""
        require_space(self.root, needed, what)
        return True

    def sync(self) -> None:
        """See ``ArtifactStore.sync``."""
        self.root.mkdir(parents=True, exist_ok=True)
        sync_filesystem(self.root)
