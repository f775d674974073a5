"""The time that an image's layers bear: the newest of its own locked inputs and of its parent's.

Not the day of the bundle or of the build: an image whose inputs did not change keeps its digest in the next bundle.
"""

from __future__ import annotations

import calendar
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from airlock.core.errors import IntegrityError
from airlock.lock.model import Artifact, Lock

_AR_MAGIC = b"!<arch>\n"


class _Created(msgspec.Struct):
    """What a configuration has and a manifest has not."""

    created: str | None = ""


def file_time(artifact: Artifact, path: Path) -> int:
    """Seconds since the epoch at which an artifact was made, as it says itself.

    A .deb says so in the header of its first ar member (deb(5)), a wheel, an sdist (tar or zip) by its newest member,
    an image by ``created`` of its configuration (its other files do not say). A bare binary does not say.

    Raises:
        IntegrityError: the file is not of its kind.
    """
    try:
        if artifact.kind == "deb":
            return _deb_time(path)
        if artifact.kind == "image":
            return _image_time(artifact, path)
        if artifact.kind == "wheel" or zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return max((calendar.timegm(member.date_time) for member in archive.infolist()), default=0)
        if artifact.kind in ("sdist", "galaxy", "gem") or (
            artifact.kind in ("source", "file") and tarfile.is_tarfile(path)
        ):
            with tarfile.open(path, "r:*") as archive:
                return max((int(member.mtime) for member in archive), default=0)
    except (OSError, ValueError, msgspec.MsgspecError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"{artifact.id} is not a whole {artifact.kind}: {error}") from None
    return 0


def _deb_time(path: Path) -> int:
    with path.open("rb") as stream:
        head = stream.read(len(_AR_MAGIC) + 60)
    if not head.startswith(_AR_MAGIC):
        raise ValueError("no ar archive")
    return int(head[len(_AR_MAGIC) + 16 : len(_AR_MAGIC) + 28])


def _image_time(artifact: Artifact, path: Path) -> int:
    if not artifact.file.endswith(".json"):
        return 0
    created = msgspec.json.decode(path.read_bytes(), type=_Created).created
    # Seconds are enough; a time without zone would be the machine's.
    return max(calendar.timegm(datetime.fromisoformat(created).utctimetuple()), 0) if created else 0


def image_times(lock: Lock, arch: str, times: Mapping[str, int]) -> dict[str, int]:
    """Seconds since the epoch for every image of one architecture; ``""`` stands for the base image.

    Args:
        times: artifact id → ``file_time``.
    """

    def newest(idents: Iterable[str]) -> int:
        return max((times[ident] for ident in idents), default=0)

    own: dict[str, int] = {}
    base = 0
    for demand in lock.demands:
        if demand.arch != arch:
            continue
        if demand.kind == "base-image":
            base = max(base, newest(demand.artifacts))
        elif demand.kind != "tool":
            own[demand.image] = max(own.get(demand.image, 0), newest(demand.artifacts))
    parents = {image.name: image.parent for image in lock.images if image.arch == arch}

    def chain(name: str) -> int:
        return max(own.get(name, 0), chain(parents[name])) if name in parents else base

    return {"": base} | {name: chain(name) for name in parents}
