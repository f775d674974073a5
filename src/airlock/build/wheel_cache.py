"""Wheels that were built in a room from locked sdists, kept at the site by key (see ``wheel_keys``)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_file
from airlock.core.files import copy_file, write_file
from airlock.core.paths import safe_component

MADE = "made.json"


class CachedWheel(msgspec.Struct, frozen=True):
    """One kept wheel.

    Attributes:
        sdist: sha256 of the sdist it was built from.
        build: id of the build that made it.
    """

    key: str
    file: str
    sha256: str
    size: int
    project: str
    sdist: str
    build: str


class WheelCache:
    """A folder ``<key>/`` a wheel: the wheel and ``made.json``, which is written last."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, key: str) -> CachedWheel | None:
        """The wheel of that key if it is there and whole; a damaged one counts as absent and is built again."""
        folder = self.root / key
        try:
            wheel = msgspec.json.decode((folder / MADE).read_bytes(), type=CachedWheel)
            if wheel.key != key or sha256_file(folder / safe_component(wheel.file)) != (wheel.sha256, wheel.size):
                return None
        except (OSError, msgspec.MsgspecError):
            return None
        return wheel

    def path(self, wheel: CachedWheel) -> Path:
        """Where the wheel's file is."""
        return self.root / wheel.key / wheel.file

    def put(self, key: str, source: Path, *, project: str, sdist: str, build: str) -> CachedWheel:
        """Keep a wheel that was just built."""
        sha256, size = sha256_file(source)
        name = safe_component(source.name)
        copy_file(source, self.root / key / name, sha256=sha256, size=size)
        wheel = CachedWheel(key, name, sha256, size, project, sdist, build)
        write_file(self.root / key / MADE, canonical(wheel) + b"\n")
        return wheel
