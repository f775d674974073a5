"""Digests of a rendered image: the same on every machine that renders the same, whatever its umask, clock or disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from airlock.core.canonical import canonical_line
from airlock.core.digest import sha256_bytes, sha256_file
from airlock.core.errors import FormatError

DOCKERFILE = "Dockerfile"


def normalise_dockerfile(data: bytes) -> bytes:
    """A Dockerfile with LF at the end of every line and one at the end of the file.

    Nothing else is touched: white space may matter in a here-document or behind a backslash.
    """
    return re.sub(rb"\r+\n", b"\n", data).rstrip(b"\r\n") + b"\n"


def dockerfile_digest(data: bytes) -> str:
    """sha256 of the normalised Dockerfile."""
    return sha256_bytes(normalise_dockerfile(data))


def context_digest(folder: Path, *, dockerfile: bool) -> str:
    """sha256 over canonical JSON lines, one for each entry below ``folder``, sorted by path.

    A file is ``{"mode": "0644"|"0755", "path", "sha256"}`` (0755 when its owner may execute it), a symbolic link
    ``{"link", "path"}``, a folder ``{"path": "…/"}``. Times and owners do not count.

    Args:
        dockerfile: whether ``Dockerfile`` counts (its exact bytes).

    Raises:
        FormatError: something that is neither file, link nor folder, or a name that is not UTF-8.
    """
    lines = []
    for path in sorted(_walk(folder), key=lambda path: path.relative_to(folder).as_posix()):
        name = path.relative_to(folder).as_posix()
        if name == DOCKERFILE and not dockerfile:
            continue
        try:
            name.encode()
        except UnicodeEncodeError:
            raise FormatError(f"{name!r} in a build context is not UTF-8") from None
        if path.is_symlink():
            lines.append(canonical_line({"path": name, "link": str(path.readlink())}))
        elif path.is_dir():
            lines.append(canonical_line({"path": name + "/"}))
        elif path.is_file():
            mode = "0755" if path.stat().st_mode & 0o100 else "0644"
            lines.append(canonical_line({"path": name, "mode": mode, "sha256": sha256_file(path)[0]}))
        else:
            raise FormatError(f"{path} in a build context is neither file, link nor folder")
    return sha256_bytes(b"".join(lines))


def _walk(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(directory) / name
