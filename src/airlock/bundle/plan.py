"""What will be in a bundle, decided before the first byte is written."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec

from airlock import __version__
from airlock.bundle import names
from airlock.bundle.manifest import (
    FORMAT,
    MAX_FILES,
    MAX_MANIFEST,
    MINIMUM_READER,
    Delivery,
    FileEntry,
    Manifest,
    Producer,
    Totals,
    bundle_id,
    content_bytes,
)
from airlock.bundle.windows import Windows
from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.errors import DefinitionError, IntegrityError, StateError
from airlock.definition.model import LoadedDefinition
from airlock.lock.model import Artifact, Lock
from airlock.lock.stand_ins import proven


class Plan(msgspec.Struct, frozen=True):
    """Everything about a bundle but its serial.

    Attributes:
        content: content files; ``artifacts`` names for each path the artifacts it answers.
        sources: path → bytes of everything that is not content.
        files: entries of ``sources``, sorted.
    """

    stream: str
    lock: str
    definition: str
    git: dict[str, str]
    content: tuple[FileEntry, ...]
    artifacts: dict[str, list[str]]
    sources: dict[str, bytes]
    files: tuple[FileEntry, ...]
    windows: tuple[dict[str, Any], ...] = ()

    def manifest(self, serial: int, ledger_head: str) -> Manifest:
        """The manifest of this plan under that serial."""
        return Manifest(
            format=FORMAT,
            minimum_reader=MINIMUM_READER,
            critical_features=(),
            producer=Producer("kolla-airlock", __version__),
            id=bundle_id(self.stream, serial),
            stream=self.stream,
            serial=serial,
            content_digest=self.content_digest,
            content=Totals(len(self.content), sum(entry.size for entry in self.content)),
            delivery=Delivery(),
            volumes=1,
            windows=self.windows,
            lock=self.lock,
            definition=self.definition,
            git=self.git,
            ledger_head=ledger_head,
            files=self.files,
        )

    @property
    def content_digest(self) -> str:
        """sha256 of CONTENT.jsonl."""
        return next(entry.sha256 for entry in self.files if entry.path == names.CONTENT)

    @property
    def identity(self) -> str:
        """sha256 over all that a bundle is but its serial: two plans of one identity may share a bundle id."""
        manifest = msgspec.to_builtins(self.manifest(1, "0" * 64))
        for key in ("id", "serial", "ledger_head"):
            del manifest[key]
        return sha256_bytes(canonical(manifest))

    @property
    def size(self) -> int:
        """Bytes of all files together, MANIFEST.json and SHA256SUMS left out."""
        return sum(entry.size for entry in (*self.content, *self.files))


def plan_bundle(
    lock: Lock, definition: LoadedDefinition, indexes: Mapping[str, bytes], windows: Windows | None = None
) -> Plan:
    """Decide what a bundle of this lock holds.

    Args:
        indexes: relative name → bytes, as ``lock.indexes.build_indexes`` makes them.
        windows: the firewall windows that the lock's files came through.

    Raises:
        StateError: the lock was made for another definition.
        DefinitionError: a name that the definition gives cannot be carried on every kind of media.
        IntegrityError: an artifact's name cannot.
    """
    if lock.header.definition != definition.digest:
        raise StateError(
            f"{definition.lock_path} was made for another {definition.path.name}: the definition has changed since",
            remedy="Run `airlock lock`, review what changed, then `airlock refresh`.",
        )
    content, artifacts = _content(lock)
    small: dict[str, bytes] = {
        names.CONTENT: content_bytes(content),
        names.LOCK: lock.to_bytes(),
        names.README: _readme(lock),
        names.INSTALLER: (files("airlock.bundle") / "installer.py").read_bytes(),
    }
    for folder, things in ((names.DEFINITION, definition.files), (names.INDEXES, indexes)):
        small |= {f"{folder}/{name}": thing for name, thing in things.items()}
    windows = windows or Windows()
    small |= {path: place.read_bytes() for path, place in windows.files.items()}
    _check(small, definition)
    entries = tuple(sorted(_entry(path, source) for path, source in small.items()))
    if len(entries) + len(content) > MAX_FILES or 200 * len(entries) > MAX_MANIFEST:
        raise StateError(f"a bundle of {len(entries) + len(content)} files is more than a reader takes")
    return Plan(
        stream=definition.definition.name,
        lock=lock.digest,
        definition=definition.digest,
        git={artifact.name: artifact.version for artifact in lock.artifacts if artifact.kind == "git"},
        content=content,
        artifacts=artifacts,
        sources=small,
        files=entries,
        windows=windows.summaries,
    )


def _readme(lock: Lock) -> bytes:
    text = (files("airlock.bundle") / "README.txt").read_bytes()
    return text + f"\nFrom this bundle: {proven(lock)}.\n".encode()


def _content(lock: Lock) -> tuple[tuple[FileEntry, ...], dict[str, list[str]]]:
    """One file for each sha256, called after the first artifact that has it."""
    paths: dict[str, FileEntry] = {}
    artifacts: dict[str, list[str]] = {}
    for artifact in lock.artifacts:
        names.check_component(artifact.file)
        entry = paths.setdefault(artifact.sha256, content_entry(artifact))
        artifacts.setdefault(entry.path, []).append(artifact.id)
    return tuple(sorted(paths.values())), artifacts


def content_entry(artifact: Artifact) -> FileEntry:
    """The content file of an artifact."""
    return FileEntry(names.content_path(artifact.sha256, artifact.file), artifact.sha256, artifact.size)


def _check(small: Mapping[str, bytes], definition: LoadedDefinition) -> None:
    try:
        names.check_component(definition.definition.name)
        for path in small:
            names.check_path(path)
        names.check_unique([names.MANIFEST, names.SUMS, names.COMMITTED, *small])
    except IntegrityError as error:
        raise DefinitionError(
            f"a bundle cannot carry this on every kind of media: {error.message}", remedy="Rename the file."
        ) from None


def _entry(path: str, source: bytes) -> FileEntry:
    return FileEntry(path, sha256_bytes(source), len(source))
