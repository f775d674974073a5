"""What was done, by whom, with what: an environment's ledger, and the build records beside it (docs/verbs/audit.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from airlock.bundle.names import WINDOWS
from airlock.bundle.stored import open_bundle
from airlock.core.digest import is_sha256, sha256_file
from airlock.core.errors import AirlockError, ChainError, UsageError
from airlock.core.settings import Site
from airlock.core.toml import nearest
from airlock.evidence.ledger import GENESIS, Entry, entries
from airlock.evidence.record import RECORD, Record, Trigger, read_record
from airlock.evidence.window import WindowRecord, read_window
from airlock.store.opening import open_store

_BACKUP = "Do not rely on this record; compare with a backup."


class LedgerSummary(msgspec.Struct, frozen=True):
    """A ledger whose chain was verified, line by line.

    Attributes:
        head: hash of the last entry; 64 zeros where there is none.
        verbs: verb → how often.
        first, last: times of the first and last entry; empty where there is none.
    """

    path: str
    entries: int
    head: str
    verbs: dict[str, int]
    first: str
    last: str


class BuildStory(msgspec.Struct, frozen=True):
    """One build: who asked for it, what went in, what came out, what the ledger says of it.

    Attributes:
        images: name → digest in the registry.
        stand_ins: image → ids of the artifacts from stand-ins that went into it; those that have none are left out.
        refused_packets, refused_names: what the build tried besides the mirror.
        ledger: the entries that name the build.
        record_checked: the ledger tells the outcome (sha256 of the record, digests of the images), and it is the same.
    """

    build: str
    state: str
    error: str
    trigger: Trigger
    bundle: str
    bundle_digest: str
    started: str
    ended: str
    images: dict[str, str]
    stand_ins: dict[str, list[str]]
    refused_packets: int
    refused_names: list[str]
    ledger: list[Entry]
    record_checked: bool


def summarise(path: Path, head: str = "") -> tuple[LedgerSummary, list[Entry]]:
    """Verify a ledger's chain and count what is in it.

    Args:
        head: a head that was noted elsewhere; it must be in the chain, else the ledger was cut or rewritten.

    Raises:
        ChainError: the chain is broken (the line is named), or ``head`` is not in it.
    """
    found = list(entries(path))
    if head and head not in {GENESIS, *(entry.hash for entry in found)}:
        raise ChainError(
            f"{path} holds no entry {head}: it was cut or rewritten since that head was noted",
            remedy="Compare with a backup; check that the head was noted of this ledger.",
        )
    summary = LedgerSummary(
        path=str(path),
        entries=len(found),
        head=found[-1].hash if found else GENESIS,
        verbs=dict(sorted(Counter(entry.verb for entry in found).items())),
        first=found[0].time if found else "",
        last=found[-1].time if found else "",
    )
    return summary, found


def all_records(folder: Path) -> tuple[list[Record], list[str]]:
    """(records, messages about what could not be read) of all builds below ``folder``; a missing one has none."""
    records: list[Record] = []
    unreadable: list[str] = []
    for path in sorted(folder.glob(f"*/{RECORD}")):
        try:
            records.append(read_record(path))
        except AirlockError as error:
            unreadable.append(error.message)
    return records, unreadable


def tell_build(folder: Path, build: str, ledger: Iterable[Entry]) -> BuildStory:
    """The story of one build.

    Args:
        folder: the site's records.
        ledger: the site's entries, verified.

    Raises:
        UsageError: no build of that id.
        FormatError: its record cannot be read.
        ChainError: its record is not the one that the ledger names.
    """
    known = sorted(path.parent.name for path in folder.glob(f"*/{RECORD}"))
    if build not in known:
        near = nearest(build, known) if known else "; there are no records yet"
        raise UsageError(f"there is no build {build!r} in {folder}{near}", remedy="`airlock status` lists the builds.")
    record = read_record(folder / build)
    mine = [entry for entry in ledger if build in _texts(entry.data)]
    return BuildStory(
        build=record.build_id,
        state=record.state,
        error=record.error,
        trigger=record.trigger,
        bundle=record.bundle.id,
        bundle_digest=record.bundle.digest,
        started=record.started,
        ended=record.ended,
        images={image.name: image.digest for image in record.images},
        stand_ins={image.name: image.stand_ins for image in record.images if image.stand_ins},
        refused_packets=record.network.refused_packets,
        refused_names=record.network.refused_names,
        ledger=mine,
        record_checked=_checked(folder / build / RECORD, mine),
    )


def check_records(folder: Path, ledger: Iterable[Entry]) -> int:
    """Compare every record that the ledger tells the outcome of with the file; returns how many were the same.

    Raises:
        ChainError: a record was changed since, or is gone.
    """
    by_build: dict[str, list[Entry]] = {}
    for entry in ledger:
        build = entry.data.get("build")
        if isinstance(build, str) and build == Path(build).name:
            by_build.setdefault(build, []).append(entry)
    return sum(_checked(folder / build / RECORD, told) for build, told in by_build.items())


def _checked(path: Path, ledger: Iterable[Entry]) -> bool:
    """Whether the ledger tells how this build ended (sha256 of the record, digests of images); it must be the same."""
    checked = False
    for entry in ledger:
        digest, images = str(entry.data.get("record", "")), entry.data.get("images")
        if not is_sha256(digest) and not isinstance(images, dict):
            continue
        if not path.is_file():
            raise ChainError(f"{path} is gone, and entry {entry.seq} of the ledger tells of it", remedy=_BACKUP)
        if is_sha256(digest) and sha256_file(path)[0] != digest:
            raise ChainError(
                f"{path} has been changed since entry {entry.seq} of the ledger noted its sha256", remedy=_BACKUP
            )
        if isinstance(images, dict) and images != {image.name: image.digest for image in read_record(path).images}:
            raise ChainError(
                f"{path} has been changed: its images are not those of entry {entry.seq} of the ledger", remedy=_BACKUP
            )
        checked = True
    return checked


def tell_windows(site: Site, bundle: str) -> list[WindowRecord]:
    """The records of the firewall windows through which a bundle's files came, as the bundle brought them.

    Raises:
        StateError: there is no such bundle.
        IntegrityError, IncompleteError: a record is not what the manifest says, or gone.
        FormatError: it is no record.
        UpstreamError, UsageError: the store's Nexus does not answer, or does not let this user read.
    """
    with open_store(site) as store:
        opened = open_bundle(store, bundle)
        paths = [path for path in opened.manifest.by_path if path.startswith(f"{WINDOWS}/") and path.endswith(".json")]
        return [read_window(opened.read(path), f"{bundle}/{path}") for path in paths]


def _texts(value: Any) -> set[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*map(_texts, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(_texts, value)) if value else set()
    return set()
