"""A file of the pool while it is downloaded: ``<aa>/<sha256>.part``, hashed while written, resumed after a kill."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

from airlock.core.digest import CHUNK
from airlock.core.files import PART
from airlock.store.pool import Pool


def already_there(pool: Pool, sha256: str) -> int:
    """Bytes of a file that an earlier run left."""
    try:
        return _part(pool, sha256).stat().st_size
    except OSError:
        return 0


def _part(pool: Pool, sha256: str) -> Path:
    final = pool.path(sha256)
    return final.with_name(final.name + PART)


class Partial:
    """The ``.part`` of one pool file; a context manager. What was there before counts, and is hashed again.

    Leaving it without ``finish`` keeps the ``.part`` for the next attempt or the next run; nothing is synced here:
    a whole batch is, by ``sync_filesystem``, before success is reported.

    Attributes:
        written: bytes that are there.
        resumed: whether they are of more than one piece: what lay there before, or a range.
    """

    def __init__(self, pool: Pool, sha256: str, size: int) -> None:
        self._final = pool.path(sha256)
        self._part = _part(pool, sha256)
        self._size = size
        self._digest = hashlib.sha256()
        self._stream: IO[bytes] | None = None
        self.written = 0
        self.resumed = False

    @property
    def sha256(self) -> str:
        """sha256 of what is there."""
        return self._digest.hexdigest()

    def open(self) -> None:
        """Open it, hashing what is there (blocking: seconds for gigabytes)."""
        self._part.parent.mkdir(parents=True, exist_ok=True)
        stream = self._part.open("a+b", buffering=0)
        self._stream = stream
        stream.seek(0)
        while chunk := stream.read(CHUNK):
            self._digest.update(chunk)
            self.written += len(chunk)
        self.resumed = self.written > 0
        if self.written > self._size:
            self.restart()

    def write(self, data: bytes) -> None:
        """Append."""
        assert self._stream is not None
        view = memoryview(data)
        while view:
            view = view[self._stream.write(view) :]
        self._digest.update(data)
        self.written += len(data)

    def restart(self) -> None:
        """Begin anew."""
        assert self._stream is not None
        self._stream.truncate(0)
        self._digest = hashlib.sha256()
        self.written = 0
        self.resumed = False

    def finish(self) -> None:
        """Give it its final name."""
        self._part.chmod(0o644)
        self._part.replace(self._final)

    def discard(self) -> None:
        """Remove it: its bytes are not what was asked for."""
        self._part.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
