"""MANIFEST.json, CONTENT.jsonl and SHA256SUMS: what a bundle says it holds (docs/formats/bundle.md).

Writers are of this version, readers may be older or newer: unknown fields are passed over, an unknown critical feature
is refused by naming the version that knows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Any

import msgspec
import rfc8785
from packaging.version import InvalidVersion, Version

from airlock import __version__
from airlock.bundle.names import (
    COMMITTED,
    CONTENT,
    LOCK,
    MANIFEST,
    POOL,
    SUMS,
    check_component,
    check_path,
    check_unique,
    fold,
)
from airlock.core.canonical import canonical_line
from airlock.core.digest import sha256_bytes
from airlock.core.errors import FormatError, IntegrityError

FORMAT = 1
MINIMUM_READER = "0.1.0"
KNOWN_FEATURES: frozenset[str] = frozenset()

MAX_MANIFEST = 64 << 20  # bytes
MAX_CONTENT = 512 << 20
MAX_SUMS = 512 << 20
MAX_LOCK = 512 << 20
MAX_FILES = 1_000_000

Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class FileEntry(msgspec.Struct, frozen=True, order=True):
    """One file of a bundle: relative POSIX path, sha256, size in bytes."""

    path: str
    sha256: Sha256
    size: Count


class Totals(msgspec.Struct, frozen=True):
    """How much content there is: files, and bytes together."""

    files: Count
    size: Count


class Producer(msgspec.Struct, frozen=True):
    """The program that wrote the bundle."""

    name: str
    version: str


class Delivery(msgspec.Struct, frozen=True):
    """How much of the content is on the media: ``full`` is all of it. Other kinds are critical features."""

    kind: str = "full"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """MANIFEST.json.

    Attributes:
        format: version of this format.
        minimum_reader: the first version of Airlock that reads this bundle.
        critical_features: what a reader must know to read it right.
        id: ``<stream>-r<serial>``; never used twice for different things.
        stream: the release definition's name.
        serial: counts the bundles of a stream, from 1.
        content_digest: sha256 of CONTENT.jsonl.
        volumes: number of media it is split over.
        windows: when the factory's firewall was open, for which hosts.
        lock: sha256 of airlock.lock.
        definition: the definition's digest (``definition.load.definition_digest`` of ``definition/``).
        git: repository → commit.
        ledger_head: hash of the entry of the factory's ledger that gave this serial.
        files: every file that is neither content nor MANIFEST.json nor SHA256SUMS, sorted by path.
    """

    format: Count
    minimum_reader: str
    critical_features: tuple[str, ...]
    producer: Producer
    id: str
    stream: str
    serial: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    content_digest: Sha256
    content: Totals
    delivery: Delivery
    volumes: Count
    windows: tuple[dict[str, Any], ...]
    lock: Sha256
    definition: Sha256
    git: dict[str, str]
    ledger_head: Sha256
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        """The file: canonical JSON (RFC 8785) and a newline."""
        return canonical_line(self)

    @property
    def by_path(self) -> dict[str, FileEntry]:
        """Entries of ``files`` by path."""
        return {entry.path: entry for entry in self.files}


class _Preamble(msgspec.Struct):
    """What every version of the manifest has, read before anything else of it is believed."""

    format: Count
    minimum_reader: str
    critical_features: tuple[str, ...] = ()


_entry_decoder = msgspec.json.Decoder(FileEntry)


def bundle_id(stream: str, serial: int) -> str:
    """Id of a stream's bundle of that serial."""
    return f"{stream}-r{serial}"


def read_manifest(data: bytes, name: str = MANIFEST) -> Manifest:
    """Parse a manifest and check everything in it that can be checked without reading another file.

    Raises:
        FormatError: not a manifest, not canonical, or made for a newer reader.
        IntegrityError: it names an unsafe or reserved path.
    """
    try:
        preamble = msgspec.json.decode(data, type=_Preamble)
        _check_readable(preamble, name)
        manifest = msgspec.json.decode(data, type=Manifest)
        whole = rfc8785.dumps(msgspec.json.decode(data)) + b"\n" == data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, rfc8785.CanonicalizationError) as error:
        raise FormatError(f"{name} is not a bundle's manifest: {error}", remedy=_AGAIN) from None
    if not whole:
        raise FormatError(f"{name} is not canonical JSON (RFC 8785)", remedy=_AGAIN)
    if manifest.delivery.kind != "full" or manifest.volumes != 1:
        raise FormatError(
            f"{name}: a {manifest.delivery.kind!r} delivery in {manifest.volumes} volumes is beyond this version",
            remedy=f"Use airlock {manifest.minimum_reader} or newer.",
        )
    _check_names(manifest, name)
    return manifest


_RESERVED = (MANIFEST, SUMS, COMMITTED)
_AGAIN = "Write or bring the bundle again."


def _check_readable(preamble: _Preamble, name: str) -> None:
    unknown = sorted(set(preamble.critical_features) - KNOWN_FEATURES)
    try:
        newer = Version(preamble.minimum_reader) > Version(__version__)
    except InvalidVersion:
        raise FormatError(f"{name}: minimum_reader {preamble.minimum_reader!r} is not a version") from None
    if preamble.format > FORMAT or newer or unknown:
        needs = f"; it needs {', '.join(map(repr, unknown[:8]))}" if unknown else ""
        raise FormatError(
            f"{name} is of format {preamble.format}, which airlock {preamble.minimum_reader} and newer read{needs}; "
            f"this is airlock {__version__}",
            remedy=f"Use airlock {preamble.minimum_reader} or newer"
            + (", one that knows this feature." if unknown and not newer else "."),
        )


def _check_names(manifest: Manifest, name: str) -> None:
    check_component(manifest.id)
    if manifest.id != bundle_id(manifest.stream, manifest.serial):
        raise FormatError(f"{name}: id {manifest.id!r} does not fit {manifest.stream!r}, serial {manifest.serial}")
    paths = [entry.path for entry in manifest.files]
    for path in paths:
        check_path(path)
        if fold(path) == POOL or fold(path).startswith(f"{POOL}/"):
            raise IntegrityError(f"{name} names {path!r}, where only content lies")
    check_unique([*_RESERVED, *paths])
    if any(left >= right for left, right in pairwise(paths)):
        raise FormatError(f"{name}: files are not sorted by path, or one is named twice")
    entries = manifest.by_path
    for path, digest in ((CONTENT, manifest.content_digest), (LOCK, manifest.lock)):
        if path not in entries:
            raise FormatError(f"{name} does not name {path}")
        if entries[path].sha256 != digest:
            raise IntegrityError(f"{name}: the sha256 of {path} stands there twice, and differently")


def content_bytes(entries: Iterable[FileEntry]) -> bytes:
    """CONTENT.jsonl: one canonical JSON object a line, sorted by path. Its sha256 is the content digest."""
    return b"".join(canonical_line(entry) for entry in sorted(entries))


def read_content(data: bytes, name: str = CONTENT) -> tuple[FileEntry, ...]:
    """Parse CONTENT.jsonl.

    Raises:
        FormatError: a line is not an entry, or they are not sorted.
        IntegrityError: a path is not that of its sha256.
    """
    lines = data.splitlines(keepends=True)
    if len(lines) > MAX_FILES:
        raise FormatError(f"{name} names more than {MAX_FILES} files")
    entries: list[FileEntry] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = _entry_decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FormatError(f"{name}, line {number}: {error}", remedy=_AGAIN) from None
        stem = f"{POOL}/{entry.sha256[:2]}/{entry.sha256}"
        rest = check_path(entry.path).removeprefix(stem)
        if not entry.path.startswith(stem) or "/" in rest or (rest and not rest.startswith(".")):
            raise IntegrityError(f"{name}, line {number}: {entry.path!r} is not where content of its sha256 lies")
        if entries and entry.path <= entries[-1].path:
            raise FormatError(f"{name}, line {number}: not sorted, or named twice", remedy=_AGAIN)
        entries.append(entry)
    return tuple(entries)


def sums_bytes(manifest: bytes, files: Iterable[FileEntry], content: Iterable[FileEntry]) -> bytes:
    """SHA256SUMS: every file but itself, in the format of sha256sum(1), sorted by path."""
    lines = {entry.path: entry.sha256 for entry in (*files, *content)} | {MANIFEST: sha256_bytes(manifest)}
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(lines.items())).encode()
