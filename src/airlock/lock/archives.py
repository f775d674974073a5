"""Files of archives that others made, read one by one and within bounds; nothing is unpacked or followed."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from airlock.core.errors import FormatError

MAX_MEMBERS = 200_000
MAX_UNPACKED = 4 << 30
"""Bytes that an archive may hold: what it is asked for lies anywhere in it, and all before that must be unpacked."""

UNREADABLE = (
    OSError,
    EOFError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,  # a way to compress that nobody knows
    RuntimeError,  # encrypted
    ValueError,
)
"""What reading an archive may raise, where it is none, is cut off or lies about itself."""


def read_members(path: Path, what: str, wanted: Callable[[str], object], limit: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the regular files whose names are wanted, in the archive's order; larger ones are passed over.

    Args:
        path: a tar archive of any compression, or a zip file.
        what: the archive's name, for messages.
        limit: bytes of one file.

    Raises:
        FormatError: it is no such archive, is cut off, or holds more than any archive should.
        FileNotFoundError: it is not there.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is no file")
        yield from _of_zip(path, wanted, limit) if zipfile.is_zipfile(path) else _of_tar(path, wanted, limit)
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        raise FormatError(
            f"{what} cannot be read: {error or type(error).__name__}", remedy="Take another version of it."
        ) from None


def _of_zip(path: Path, wanted: Callable[[str], object], limit: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist()[:MAX_MEMBERS]:
            if not info.is_dir() and info.file_size <= limit and wanted(info.filename):
                yield info.filename, archive.read(info)


def _of_tar(path: Path, wanted: Callable[[str], object], limit: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        unpacked = 0
        for number, member in enumerate(archive):
            unpacked += member.size
            if number > MAX_MEMBERS or unpacked > MAX_UNPACKED:
                raise ValueError("it holds more than an archive of sources should")
            if member.isfile() and member.size <= limit and wanted(member.name):
                stream = archive.extractfile(member)
                if stream is not None:
                    yield member.name, stream.read()
