"""Single files out of an image's layers, without unpacking them: tar members, whiteouts, hostile names.

OCI image-spec 1.0, layer.md: layers are changesets, applied from the lowest up. ``.wh.NAME`` takes NAME away from the
layers below, ``.wh..wh..opq`` everything that they have in its folder. Nothing is written.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from airlock.core.digest import CHUNK
from airlock.core.errors import FormatError, IntegrityError

MAX_LAYER = 16 << 30  # bytes of a layer without its compression
MAX_FILE = 64 << 20  # bytes of a file that is read
MAX_FILES = 20_000  # files that are read
_MAX_EXTENSION = 1 << 20  # bytes of a long name or a pax header, which tarfile reads whole
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_EXTENSIONS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


class Layer(msgspec.Struct, frozen=True):
    """One layer: a file, ``.tar`` or ``.tar.gz``, and the sha256 of the tar inside (its diff_id)."""

    path: Path
    extension: str
    diff_id: str


class _TarInfo(tarfile.TarInfo):
    """A member whose extended header is bounded before it is read into memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENSIONS and not 0 <= self.size <= _MAX_EXTENSION:
            raise tarfile.HeaderError(f"an extended header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]


class _Counted:
    """Reads through, counting and hashing."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._size = 0

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._digest.update(data)
        self._size += len(data)
        if self._size > MAX_LAYER:
            raise FormatError(f"a layer is larger than {MAX_LAYER >> 30} GiB")
        return data


class _Change:
    """What one layer does to the wanted files."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | None] = {}
        self.gone: set[str] = set()  # with all below
        self.emptied: set[str] = set()  # all below, the folder stays
        self.replaced: set[str] = set()  # itself alone: a folder stands there now


def read_layers(layers: Iterable[Layer], wanted: Callable[[str], bool]) -> dict[str, bytes | None]:
    """The wanted files of an image.

    Args:
        layers: the lowest first.
        wanted: called with a path relative to the root (``etc/apt/preferences``).

    Returns:
        Path → bytes; None for what is there, but no regular file.

    Raises:
        IntegrityError: a layer's tar has another sha256 than its diff_id.
        FormatError: a layer is no tar, a member's name leaves the root, a file is too large.
    """
    found: dict[str, bytes | None] = {}
    for layer in layers:
        change = _change(layer, wanted)
        found = {path: data for path, data in found.items() if not _hidden(path, change)} | change.files
        if len(found) > MAX_FILES:
            raise FormatError(f"more than {MAX_FILES} files to read in an image")
    return found


def _hidden(path: str, change: _Change) -> bool:
    if path in change.gone or path in change.replaced:
        return True
    above = [str(parent) for parent in PurePosixPath(path).parents]
    return any(folder in change.gone or folder in change.emptied for folder in above)


def _change(layer: Layer, wanted: Callable[[str], bool]) -> _Change:
    change = _Change()
    name = layer.path.name[:12]
    try:
        with layer.path.open("rb") as raw:
            stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if layer.extension == ".tar.gz" else raw  # type: ignore[assignment]
            counted = _Counted(stream)
            with tarfile.open(fileobj=counted, mode="r|", tarinfo=_TarInfo) as archive:  # type: ignore[call-overload]
                while (member := archive.next()) is not None:
                    archive.members.clear()  # they would fill the memory
                    _take(archive, member, change, wanted)
            while counted.read(CHUNK):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError) as error:
        raise FormatError(f"layer {name} cannot be read: {error}") from None
    if counted.sha256 != layer.diff_id:
        raise IntegrityError(
            f"layer {name} unpacks to sha256:{counted.sha256}; the image's configuration names sha256:{layer.diff_id}",
            remedy="This image is broken or forged. Take another one.",
        )
    return change


def _take(archive: tarfile.TarFile, member: tarfile.TarInfo, change: _Change, wanted: Callable[[str], bool]) -> None:
    path = member_path(member.name)
    folder, _, base = path.rpartition("/")
    if base == _OPAQUE:
        change.emptied.add(folder or ".")
    elif base.startswith(_WHITEOUT):
        change.gone.add(f"{folder}/{base[len(_WHITEOUT) :]}".lstrip("/"))
    elif member.isdir():
        change.replaced.add(path)
        change.files.pop(path, None)
    else:
        change.gone.add(path)  # whatever the layers below have there, also as a folder
        if wanted(path):
            change.files[path] = _content(archive, member, path, change)
        else:
            change.files.pop(path, None)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, change: _Change) -> bytes | None:
    if member.islnk():  # to a member that came before
        return change.files.get(member_path(member.linkname))
    stream = archive.extractfile(member) if member.isreg() else None
    if stream is None:
        return None
    if member.size > MAX_FILE:
        raise FormatError(f"{path} in the image is larger than {MAX_FILE >> 20} MiB")
    return stream.read()


def member_path(name: str) -> str:
    """A member's name as a path relative to the root; ``.`` for the root itself.

    Raises:
        FormatError: it climbs out.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise FormatError(f"a layer holds a member called {name!r}")
    return "/".join(parts) or "."
