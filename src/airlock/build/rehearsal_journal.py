"""What a factory's rehearsals have built so far, image by image: one line of JSON each, the newest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from airlock.core.canonical import canonical, canonical_line
from airlock.core.digest import sha256_bytes
from airlock.core.files import write_file
from airlock.lock.model import Lock

State = Literal["built", "failed", "skipped"]


class Rehearsed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an image's last rehearsal ended.

    Attributes:
        state: ``skipped`` where its parent was not built.
        key: digest of what it was built of, its parent among it: see ``image_key``.
        id: of the image in the engine, where it was built.
        seconds: of the build, wheels included.
        date: UTC, RFC 3339.
        asked: what it asked for in vain; where it was built all the same, it could do without.
        said: why it was not built.
        log: name of its log in ``logs/``.
    """

    image: str
    state: State
    key: str
    date: str
    id: str = ""
    seconds: float = 0.0
    asked: tuple[str, ...] = ()
    said: str = ""
    log: str = ""


class Journal:
    """A file of ``Rehearsed``, one a line, by image. It is written whole each time: it has no more lines than images.

    Whatever cannot be read counts as not built, and is built again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, Rehearsed] = {}
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                entry = msgspec.json.decode(line, type=Rehearsed)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            self._entries[entry.image] = entry

    @property
    def entries(self) -> Mapping[str, Rehearsed]:
        """By image."""
        return self._entries

    def put(self, entry: Rehearsed) -> None:
        """Note how an image's rehearsal ended; on return it is on the disk."""
        self._entries[entry.image] = entry
        write_file(self._path, b"".join(canonical_line(self._entries[name]) for name in sorted(self._entries)))


def image_key(lock: Lock, arch: str, image: str, parent: str, timestamp: int) -> str:
    """Digest of all that an image is built of.

    Args:
        parent: the engine's id of its parent.
        timestamp: that its layers bear.
    """
    by_id = lock.by_id
    sealed = next(entry.sealed for entry in lock.images if (entry.arch, entry.name) == (arch, image))
    inputs = sorted(
        by_id[ident].sha256
        for demand in lock.demands
        if (demand.arch, demand.image) == (arch, image)
        for ident in demand.artifacts
    )
    return sha256_bytes(canonical({"sealed": sealed, "parent": parent, "inputs": inputs, "timestamp": timestamp}))
