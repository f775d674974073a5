"""Names inside a bundle: what a content file is called, and which names any media and any receiver can take."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from airlock.core.errors import IntegrityError
from airlock.core.files import PART
from airlock.core.paths import safe_relative

MANIFEST = "MANIFEST.json"
CONTENT = "CONTENT.jsonl"
SUMS = "SHA256SUMS"
README = "README.txt"
LOCK = "airlock.lock"
INSTALLER = "install-airlock.py"
COMMITTED = "COMMITTED.json"
DEFINITION = "definition"
INDEXES = "indexes"
WINDOWS = "evidence/windows"
POOL = "pool"

MAX_COMPONENT = 240  # bytes; ``.part`` must fit behind it within 255
MAX_DEPTH = 16

_NOT_PORTABLE = re.compile(r'[<>:"|?*]')  # FAT and exFAT refuse them
_WHOLE = re.compile(r"\.tar\.[a-z0-9]{1,5}$")
_LAST = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,15}$")


def extension(file: str) -> str:
    """The real extension of a file name, ``.tar.gz`` whole, empty where there is none."""
    for pattern in (_WHOLE, _LAST):
        if found := pattern.search(file):
            return found[0]
    return ""


def content_path(sha256: str, file: str) -> str:
    """Where the content of that sha256, called ``file``, lies in a bundle."""
    return f"{POOL}/{sha256[:2]}/{sha256}{extension(file)}"


def check_path(name: str) -> str:
    """A path of a bundle: safe, and possible on every file system that media have.

    Raises:
        IntegrityError: it is not.
    """
    try:
        parts = safe_relative(name).parts
    except UnicodeEncodeError:
        raise IntegrityError(f"unsafe path {name!r}: not UTF-8") from None
    for part in parts:
        if (
            len(part.encode()) > MAX_COMPONENT
            or _NOT_PORTABLE.search(part)
            or part.endswith((".", " "))
            or part.startswith("-")  # to sha256sum, `-` is its standard input
            or part.lower().endswith(PART)
        ):
            raise IntegrityError(f"unsafe path {name!r}", remedy="Not every file system can hold a file of this name.")
    if len(parts) > MAX_DEPTH:
        raise IntegrityError(f"unsafe path {name!r}: more than {MAX_DEPTH} folders deep")
    return name


def check_component(name: str) -> str:
    """A file name of one component (an artifact's own name, a bundle id).

    Raises:
        IntegrityError: it is not one.
    """
    if "/" in check_path(name):
        raise IntegrityError(f"{name!r} is not a plain name")
    return name


def fold(name: str) -> str:
    """What two names share that a file system without case would take for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def check_unique(names: Iterable[str]) -> None:
    """No two names are the same, also without case, and none is also another's folder.

    Raises:
        IntegrityError: naming both.
    """
    seen: dict[str, str] = {}
    for name in names:
        if fold(name) in seen:
            raise IntegrityError(
                f"two files have one name where case does not count: {seen[fold(name)]!r} and {name!r}"
            )
        seen[fold(name)] = name
    for name in seen.values():
        for parent in PurePosixPath(name).parents:
            if fold(str(parent)) in seen:
                raise IntegrityError(f"{seen[fold(str(parent))]!r} is a file and also the folder of {name!r}")
