"""Reading media that nobody vouches for: bounded, no link or special file followed, every difference noted."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Literal, NoReturn

import msgspec

from airlock.bundle.manifest import MAX_FILES
from airlock.bundle.names import check_path
from airlock.core.digest import CHUNK
from airlock.core.errors import IncompleteError, IntegrityError

Kind = Literal["missing", "wrong size", "wrong content", "unexpected", "unreadable", "inconsistent"]
SHOWN = 20  # findings of one kind in a message
MAX_FINDINGS = 10_000


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong with a bundle: what kind, with which file, and the details."""

    kind: Kind
    path: str
    detail: str = ""


class Findings:
    """What is wrong, gathered up to a bound so that all of it can be said together."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.found: list[Finding] = []

    def add(self, kind: Kind, path: str, detail: str = "") -> None:
        """Note one. Beyond ``MAX_FINDINGS`` the bundle is refused at once."""
        self.found.append(Finding(kind, path, detail))
        if len(self.found) >= MAX_FINDINGS:
            self.refuse()

    def check(self) -> None:
        """Refuse the bundle if anything was found.

        Raises:
            IncompleteError: nothing but missing files.
            IntegrityError: anything else; both name all findings, up to ``SHOWN`` of a kind.
        """
        if self.found:
            self.refuse()

    def refuse(self) -> NoReturn:
        """See ``check``."""
        if not self.found:  # a second reading found what the first did not
            self.found.append(Finding("unreadable", ".", "it changed while it was read"))
        kinds = sorted({finding.kind for finding in self.found})
        counts = {kind: [one for one in sorted(self.found) if one.kind == kind] for kind in kinds}
        lines = [f"{self.subject}: " + ", ".join(f"{len(found)} {kind}" for kind, found in counts.items())]
        for kind, found in counts.items():
            lines += [
                f"  {kind}: {show(one.path)}" + (f" ({one.detail})" if one.detail else "") for one in found[:SHOWN]
            ]
            if len(found) > SHOWN:
                lines.append(f"  {kind}: and {len(found) - SHOWN} more")
        message = "\n".join(lines)
        if kinds == ["missing"]:
            raise IncompleteError(message, remedy="Run `airlock bundle` to the same media again: it writes what lacks.")
        raise IntegrityError(message, remedy="Do not use it. Write it again at the factory, or check the media.")


def show(path: str) -> str:
    """A path from outside, fit for a terminal."""
    return path if path.isprintable() else ascii(path)


def walk(folder: Path, findings: Findings) -> dict[str, int]:
    """Regular files below ``folder``: relative path → size. All else (links, special files, unsafe names, too deeply
    nested folders) becomes findings.

    Raises:
        IntegrityError: more files and folders than a bundle may have.
    """
    sizes: dict[str, int] = {}
    waiting, folders = [""], 0
    while waiting:
        prefix = waiting.pop()
        folders += 1
        try:
            with os.scandir(folder / prefix) as entries:
                found = list(entries)
        except OSError as error:
            findings.add("unreadable", prefix, error.strerror or "")
            continue
        for entry in found:
            path = prefix + entry.name
            if reason := _unfit(path, entry):
                findings.add("unexpected", path, reason)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path + "/")
            else:
                sizes[path] = entry.stat(follow_symlinks=False).st_size
        if len(sizes) + len(waiting) + folders > 2 * MAX_FILES:
            raise IntegrityError(f"{folder} holds more than {2 * MAX_FILES} files and folders")
    return sizes


def _unfit(path: str, entry: os.DirEntry[str]) -> str:
    try:
        check_path(path)
        mode = entry.stat(follow_symlinks=False).st_mode
    except IntegrityError:
        return "unsafe name"
    except OSError as error:
        return error.strerror or "cannot be read"
    if stat.S_ISLNK(mode):
        return "symbolic link"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "neither file nor folder"


def open_plain(path: Path) -> int:
    """A file descriptor of a regular file, no link followed, nothing waited for (a FIFO).

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a regular file", str(path))
    return handle


def read_plain(path: Path, limit: int) -> bytes:
    """A whole file of at most ``limit`` bytes.

    Raises:
        OSError: see ``open_plain``.
        IntegrityError: it is larger.
    """
    with os.fdopen(open_plain(path), "rb") as stream:
        data = stream.read(limit + 1) if os.fstat(stream.fileno()).st_size <= limit else None
    if data is None or len(data) > limit:
        raise IntegrityError(f"{path} is larger than {limit >> 20} MiB, which no bundle's is")
    return data


def hash_plain(path: Path, limit: int) -> str:
    """sha256 of at most ``limit`` + 1 bytes of a file: more than it should have is never read.

    Raises:
        OSError: see ``open_plain``, or the media cannot be read.
    """
    digest = hashlib.sha256()
    left = limit + 1
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    with os.fdopen(open_plain(path), "rb", buffering=0) as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while left > 0 and (count := stream.readinto(view[: min(left, CHUNK)])):
            digest.update(view[:count])
            left -= count
    return digest.hexdigest()
