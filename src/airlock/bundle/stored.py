"""Bundles that a site's store holds: what ``import`` committed, read back with every byte checked.

``build`` reads bundles through this; it does not need ``site``.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import msgspec

from airlock.bundle import names
from airlock.bundle.manifest import MAX_CONTENT, MAX_LOCK, MAX_MANIFEST, Manifest, read_manifest
from airlock.bundle.parallel import in_threads
from airlock.core.canonical import canonical_line
from airlock.core.digest import sha256_bytes
from airlock.core.errors import FormatError, IncompleteError, IntegrityError, StateError
from airlock.core.progress import Reporter
from airlock.core.toml import nearest
from airlock.lock.model import Lock, read_lock
from airlock.store.artifacts import ArtifactStore, DirectoryStore

FORMAT = 1
BUNDLES = "bundles"
DISTS = "dists"
MAX_COMMIT = 1 << 20  # bytes
SHOWN = 20


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """COMMITTED.json: written last, read back; a bundle counts as imported only with it.

    Attributes:
        manifest: sha256 of MANIFEST.json, which names everything else.
        imported: UTC, RFC 3339.
        ledger: hash of the entry of the site's ledger about this import.
    """

    format: int
    id: str
    stream: str
    serial: int
    manifest: str
    content_digest: str
    imported: str
    ledger: str

    def to_bytes(self) -> bytes:
        """The file: canonical JSON and a newline."""
        return canonical_line(self)


class StoredBundle:
    """One imported bundle. Made by ``open_bundle``.

    Attributes:
        manifest_digest: sha256 of MANIFEST.json.
    """

    def __init__(self, store: DirectoryStore, commit: Commit, manifest: Manifest) -> None:
        self._store = store
        self.commit = commit
        self.manifest = manifest
        self._entries = manifest.by_path

    @property
    def id(self) -> str:
        """The bundle's id."""
        return self.manifest.id

    @property
    def manifest_digest(self) -> str:
        """sha256 of MANIFEST.json."""
        return self.commit.manifest

    @cached_property
    def lock(self) -> Lock:
        """The lock.

        Raises:
            IntegrityError: it is not what the manifest says (the same holds for every file read here).
            IncompleteError: it is gone.
        """
        return read_lock(self.read(names.LOCK, MAX_LOCK), f"{self.id}/{names.LOCK}")

    @cached_property
    def definition_files(self) -> dict[str, bytes]:
        """Relative name → bytes, as ``LoadedDefinition.files`` has them."""
        prefix = f"{names.DEFINITION}/"
        return {path.removeprefix(prefix): self.read(path) for path in self._entries if path.startswith(prefix)}

    def index(self, path: str) -> bytes | None:
        """An index by its name below ``indexes/`` (``apt/debian/dists/bookworm/Release``); None where there is none."""
        full = f"{names.INDEXES}/{path}"
        return self.read(full, MAX_CONTENT) if full in self._entries else None

    @property
    def index_names(self) -> list[str]:
        """Names of all indexes, sorted."""
        prefix = f"{names.INDEXES}/"
        return [path.removeprefix(prefix) for path in self._entries if path.startswith(prefix)]

    def read(self, path: str, limit: int = MAX_MANIFEST) -> bytes:
        """A file that is not content, by its path in the bundle, checked against the manifest."""
        entry = self._entries[path]
        place = f"{BUNDLES}/{self.id}/{path}"
        try:
            data = self._store.read_bytes(place, limit)
        except FileNotFoundError:
            raise IncompleteError(f"bundle {self.id} has lost {path}", remedy=_IMPORT_AGAIN) from None
        if sha256_bytes(data) != entry.sha256:
            raise IntegrityError(f"{place} has changed since it was imported", remedy=_IMPORT_AGAIN)
        return data

    def content(self, sha256: str, file: str) -> Path | None:
        """Where the content of that sha256, called ``file``, lies; None unless the lock names just this.

        What is there is not hashed here: see ``check``.
        """
        if (sha256, file) not in self._content:
            return None
        return self._store.path(names.store_path(sha256, file))

    @cached_property
    def _content(self) -> dict[tuple[str, str], int]:
        return {(artifact.sha256, artifact.file): artifact.size for artifact in self.lock.artifacts}

    def check(self, reporter: Reporter) -> None:
        """Hash everything of this bundle that the store holds.

        Raises:
            IncompleteError: something is gone (and nothing changed).
            IntegrityError: something changed. Both name the files.
        """
        wanted = {f"{BUNDLES}/{self.id}/{path}": (entry.sha256, entry.size) for path, entry in self._entries.items()}
        wanted |= {names.store_path(*key): (key[0], size) for key, size in self._content.items()}
        wrong: list[str] = []
        gone: list[str] = []
        with reporter.task(f"checking {self.id}", sum(size for _, size in wanted.values())) as task:
            for path, found in in_threads(self._store.digest, wanted):
                task.advance(wanted[path][1], path)
                if found is None:
                    gone.append(path)
                elif found != wanted[path]:
                    wrong.append(path)
        if wrong or gone:
            named = [f"  changed: {path}" for path in wrong[:SHOWN]] + [f"  missing: {path}" for path in gone[:SHOWN]]
            count = f"bundle {self.id} in {self._store.root}: {len(wrong)} files changed, {len(gone)} missing"
            kind = IntegrityError if wrong else IncompleteError
            raise kind("\n".join([count, *named]), remedy=_IMPORT_AGAIN)


_IMPORT_AGAIN = "Import the same bundle again: that mends what lacks. Check the disk."


def bundle_ids(store: ArtifactStore) -> dict[str, bool]:
    """Ids of all bundles that the store holds something of → whether a commit file is there."""
    found: dict[str, bool] = {}
    for file in store.list(BUNDLES):
        ident, _, rest = file.path.removeprefix(f"{BUNDLES}/").partition("/")
        if rest:
            found[ident] = found.get(ident, False) or rest == names.COMMITTED
    return found


def list_bundles(store: ArtifactStore) -> list[Commit]:
    """Commit files of all imported bundles, by stream and serial; those that cannot be read are left out."""
    found = []
    for ident, committed in bundle_ids(store).items():
        if committed:
            try:
                found.append(read_commit(store, ident))
            except (FormatError, IntegrityError):
                continue
    return sorted(found, key=lambda commit: (commit.stream, commit.serial))


def read_commit(store: ArtifactStore, ident: str) -> Commit:
    """The commit file of a bundle.

    Raises:
        StateError: there is none: it was never imported, or not to the end.
        FormatError: it cannot be read, or is of a newer format.
    """
    path = f"{BUNDLES}/{names.check_component(ident)}/{names.COMMITTED}"
    try:
        commit = msgspec.json.decode(store.read_bytes(path, MAX_COMMIT), type=Commit)
    except FileNotFoundError:
        known = [name for name, committed in bundle_ids(store).items() if committed]
        hint = nearest(ident, known) if known else "; the store holds none"
        raise StateError(
            f"bundle {ident} is not in the store, or its import did not come to its end{hint}",
            remedy="`airlock status` lists what is there; `airlock import` brings it.",
        ) from None
    except msgspec.MsgspecError as error:
        raise FormatError(f"{path} is not a commit file: {error}", remedy=_IMPORT_AGAIN) from None
    if commit.format > FORMAT or commit.id != ident:
        raise FormatError(f"{path} is of format {commit.format}, about {commit.id!r}", remedy=_IMPORT_AGAIN)
    return commit


def open_bundle(store: DirectoryStore, ident: str) -> StoredBundle:
    """Open an imported bundle by its id.

    Raises:
        StateError: it was not imported.
        FormatError, IntegrityError: commit file or manifest are not what they should be.
    """
    commit = read_commit(store, ident)
    path = f"{BUNDLES}/{ident}/{names.MANIFEST}"
    try:
        document = store.read_bytes(path, MAX_MANIFEST)
    except FileNotFoundError:
        raise IncompleteError(f"bundle {ident} has lost {names.MANIFEST}", remedy=_IMPORT_AGAIN) from None
    if sha256_bytes(document) != commit.manifest:
        raise IntegrityError(f"{path} has changed since it was imported", remedy=_IMPORT_AGAIN)
    manifest = read_manifest(document, path)
    if manifest.id != ident:
        raise IntegrityError(f"{path} is about {manifest.id}", remedy=_IMPORT_AGAIN)
    return StoredBundle(store, commit, manifest)
