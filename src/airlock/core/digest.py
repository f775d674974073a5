"""sha256, the one name an artifact has."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

CHUNK = 1 << 20

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def is_sha256(text: str) -> bool:
    """Whether ``text`` is a sha256 in lower-case hexadecimal."""
    return bool(_SHA256.match(text))


def sha256_bytes(data: bytes) -> str:
    """Lower-case hexadecimal sha256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> tuple[str, int]:
    """(sha256, size in bytes) of a file, read once; hashlib releases the GIL, so threads scale.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while count := stream.readinto(buffer):
            digest.update(view[:count])
            size += count
    return digest.hexdigest(), size
