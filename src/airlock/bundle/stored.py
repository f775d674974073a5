"""Bundles that a site's store holds: what ``import`` committed, read back with every byte checked.

``build`` reads bundles through this; it does not need ``site``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from functools import cached_property

import msgspec

from airlock.bundle import names
from airlock.bundle.manifest import MAX_CONTENT, MAX_LOCK, MAX_MANIFEST, Manifest, read_manifest
from airlock.core.canonical import canonical_line
from airlock.core.digest import sha256_bytes
from airlock.core.errors import FormatError, IncompleteError, IntegrityError, StateError
from airlock.core.parallel import in_threads
from airlock.core.progress import Reporter
from airlock.core.toml import nearest
from airlock.lock.model import Lock, read_lock
from airlock.store.artifacts import ArtifactSource, ArtifactStore, StoredFile, store_path

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
    """One imported bundle. Made by ``open_bundle``, or by ``pool_bundle`` from a factory's own files.

    Attributes:
        store: where it lies.
        manifest_digest: sha256 of MANIFEST.json.
    """

    def __init__(self, store: ArtifactSource, commit: Commit, manifest: Manifest) -> None:
        self.store = store
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

    def index_file(self, path: str) -> StoredFile | None:
        """Where that index lies, and what it must be; None where there is none."""
        entry = self._entries.get(f"{names.INDEXES}/{path}")
        return None if entry is None else StoredFile(f"{BUNDLES}/{self.id}/{entry.path}", entry.size, entry.sha256)

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
            data = self.store.read_bytes(place, limit)
        except FileNotFoundError:
            raise IncompleteError(f"bundle {self.id} has lost {path}", remedy=_IMPORT_AGAIN) from None
        if sha256_bytes(data) != entry.sha256:
            raise IntegrityError(f"{place} has changed since it was imported", remedy=_IMPORT_AGAIN)
        return data

    def content(self, sha256: str, file: str) -> StoredFile | None:
        """Where the content of that sha256, called ``file``, lies; None unless the lock names just this.

        What is there is not hashed here: see ``check``.
        """
        size = self._content.get((sha256, file))
        return None if size is None else StoredFile(store_path(sha256, file), size, sha256)

    @cached_property
    def _content(self) -> dict[tuple[str, str], int]:
        return {(artifact.sha256, artifact.file): artifact.size for artifact in self.lock.artifacts}

    async def stream(self, file: StoredFile) -> AsyncGenerator[bytes, None]:
        """The bytes of a file of the bundle, unchecked.

        Raises:
            IncompleteError: it is gone.
        """
        try:
            async with aclosing(self.store.stream(file.path)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except FileNotFoundError:
            raise IncompleteError(
                f"bundle {self.id} has lost {file.path} in {self.store.name}", remedy=_IMPORT_AGAIN
            ) from None

    def check(self, reporter: Reporter, digest: Callable[[StoredFile], tuple[str, int] | None] | None = None) -> None:
        """Hash everything of this bundle that the store holds.

        Args:
            digest: in place of the store's own, by who wants to look at the files as well; called from threads.

        Raises:
            IncompleteError: something is gone (and nothing changed).
            IntegrityError: something changed. Both name the files.
        """
        wanted = [
            *(StoredFile(f"{BUNDLES}/{self.id}/{path}", one.size, one.sha256) for path, one in self._entries.items()),
            *(StoredFile(store_path(*key), size, key[0]) for key, size in self._content.items()),
        ]
        ask = digest or (lambda file: self.store.digest(file.path))
        wrong: list[str] = []
        gone: list[str] = []
        with reporter.task(f"checking {self.id}", sum(file.size for file in wanted)) as task:
            for file, found in in_threads(ask, wanted, self.store.streams):
                task.advance(file.size, file.path)
                if found is None:
                    gone.append(file.path)
                elif found != (file.sha256, file.size):
                    wrong.append(file.path)
        if wrong or gone:
            named = [f"  changed: {path}" for path in wrong[:SHOWN]] + [f"  missing: {path}" for path in gone[:SHOWN]]
            count = f"bundle {self.id} in {self.store.name}: {len(wrong)} files changed, {len(gone)} missing"
            kind = IntegrityError if wrong else IncompleteError
            raise kind("\n".join([count, *named]), remedy=_IMPORT_AGAIN)


_IMPORT_AGAIN = "Import the same bundle again: that mends what lacks. Check the disk."


class Found:
    """The bundles among the files of a store, which are told one after the other.

    Attributes:
        bundles: ids of all that something is there of → whether a commit file is.
    """

    def __init__(self) -> None:
        self.bundles: dict[str, bool] = {}

    def add(self, path: str) -> None:
        """A file of the store."""
        folder, _, below = path.partition("/")
        ident, _, rest = below.partition("/")
        if folder == BUNDLES and rest:
            self.bundles[ident] = self.bundles.get(ident, False) or rest == names.COMMITTED

    @property
    def committed(self) -> list[str]:
        """Ids of those with a commit file."""
        return [ident for ident, committed in self.bundles.items() if committed]


def find_bundles(store: ArtifactStore) -> Found:
    """What bundles a store has, by a listing of it."""
    found = Found()
    for file in store.list(BUNDLES):
        found.add(file.path)
    return found


def list_bundles(store: ArtifactStore) -> list[Commit]:
    """Commit files of all imported bundles, by stream and serial; those that cannot be read are left out."""
    return read_commits(store, find_bundles(store).committed)


def read_commits(store: ArtifactStore, idents: Iterable[str]) -> list[Commit]:
    """Commit files of these bundles, by stream and serial; those that cannot be read are left out."""
    found = []
    for ident in idents:
        try:
            if commit := find_commit(store, ident):
                found.append(commit)
        except (FormatError, IntegrityError):
            continue
    return sorted(found, key=lambda commit: (commit.stream, commit.serial))


def find_commit(store: ArtifactStore, ident: str) -> Commit | None:
    """The commit file of a bundle; None where there is none: it was never imported, or not to the end.

    Raises:
        FormatError: it cannot be read, or is of a newer format.
    """
    path = f"{BUNDLES}/{names.check_component(ident)}/{names.COMMITTED}"
    try:
        commit = msgspec.json.decode(store.read_bytes(path, MAX_COMMIT), type=Commit)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not a commit file: {error}", remedy=_IMPORT_AGAIN) from None
    if commit.format > FORMAT or commit.id != ident:
        raise FormatError(f"{path} is of format {commit.format}, about {commit.id!r}", remedy=_IMPORT_AGAIN)
    return commit


def open_bundle(store: ArtifactStore, ident: str) -> StoredBundle:
    """Open an imported bundle by its id.

    Raises:
        StateError: it was not imported.
        FormatError, IntegrityError: commit file or manifest are not what they should be.
    """
    commit = find_commit(store, ident)
    if commit is None:
        known = find_bundles(store).committed
        hint = nearest(ident, known) if known else "; the store holds none"
        raise StateError(
            f"bundle {ident} is not in the store, or its import did not come to its end{hint}",
            remedy="`airlock status` lists what is there; `airlock import` brings it.",
        )
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
