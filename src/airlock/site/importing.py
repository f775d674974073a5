"""Import a bundle into the site's store: verified first, hashed while copied, read back, committed last."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from airlock.bundle import names
from airlock.bundle.parallel import in_threads
from airlock.bundle.stored import BUNDLES, DISTS, FORMAT, Commit, list_bundles, read_commit
from airlock.bundle.verify import VerifiedBundle, verify_bundle
from airlock.core.digest import is_sha256, sha256_bytes
from airlock.core.errors import FormatError, IntegrityError, StateError, UsageError
from airlock.core.files import exclusive
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.site.base_images import BaseImage, push_base_images
from airlock.store.artifacts import ArtifactStore, DirectoryStore

VERB = "import"
IMAGES = "import-base-images"
BLOCK = 4096
BATCH = 1 << 30  # bytes between two syncs


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did.

    Attributes:
        manifest: sha256 of MANIFEST.json.
        expected: it was compared with a digest that came another way; else the waiver stands in the ledger.
        copied, copied_size: files and bytes that were written.
        held: files that the store held already, whole.
        already: the bundle had been imported; ``copied`` > 0 then means that it was mended.
        base_images: what the registry has of the bundle's base images by now.
    """

    id: str
    stream: str
    serial: int
    manifest: str
    content_digest: str
    expected: bool
    copied: int
    copied_size: int
    held: int
    already: bool
    base_images: tuple[BaseImage, ...] = ()


class _File(msgspec.Struct, frozen=True):
    """One file of the store, from one of the bundle."""

    path: str
    source: Path
    sha256: str
    size: int


def import_bundle(
    folder: Path, site: Site, *, expect: str | None, allow_older: bool, reporter: Reporter
) -> ImportResult:
    """Import the bundle in ``folder`` into the site's directory store.

    Whatever happens on the way, bundles that were imported before stay usable; the same command again finishes it. Base
    images go into the registry last: the bundle counts by then.

    Args:
        expect: the sha256 of MANIFEST.json that the transfer paper names; None is recorded as a waiver.
        allow_older: take a serial older than one of the same stream that is here.

    Raises:
        UsageError: ``expect`` is no sha256, or is missing although site.toml requires it.
        IncompleteError, IntegrityError, FormatError: see ``verify_bundle``; IntegrityError also for another digest than
            expected, and for a store that does not give back what it was given.
        StateError: an older serial; an id used before for something else; another import is running.
        SpaceError: the store has no room.
        UpstreamError: the registry does not take a base image.
    """
    wanted = _expected(expect, site)
    verified = verify_bundle(folder, reporter)
    if wanted and verified.digest != wanted:
        raise IntegrityError(
            f"{folder} has the manifest {verified.digest}, not the expected {wanted}",
            remedy="Nothing was imported. Compare with the transfer paper; ask whoever wrote the bundle.",
        )
    store = DirectoryStore(site.artifacts)
    with exclusive(site.state / "import.lock", f"the store {store.root}"):
        commit = _known(store, verified)
        if commit is None:
            _require_order(store, verified, allow_older)
        files = _files(verified)
        copied, held = _bring(store, files, reporter)
        result = ImportResult(
            id=verified.manifest.id,
            stream=verified.manifest.stream,
            serial=verified.manifest.serial,
            manifest=verified.digest,
            content_digest=verified.manifest.content_digest,
            expected=bool(wanted),
            copied=len(copied),
            copied_size=sum(file.size for file in copied),
            held=held,
            already=commit is not None,
        )
        if commit is None or copied:
            _commit(store, site, verified, result, commit, allow_older)
        base_images = push_base_images(verified, site, reporter)
        if any(image.sent for image in base_images):
            ledger.append(
                site.ledger, IMAGES, {"id": result.id, "images": [msgspec.to_builtins(image) for image in base_images]}
            )
    return msgspec.structs.replace(result, base_images=tuple(base_images))


def _expected(expect: str | None, site: Site) -> str:
    if expect is None:
        if site.settings.build.require_expect:
            raise UsageError(
                "this site imports nothing without --expect DIGEST (require_expect in site.toml)",
                remedy="The digest is on the transfer paper; `airlock bundle` printed it.",
            )
        return ""
    digest = expect.strip().lower().removeprefix("sha256:")
    if not is_sha256(digest):
        raise UsageError(f"--expect {expect!r} is not a sha256", remedy="It has 64 hexadecimal digits.")
    return digest


def _known(store: ArtifactStore, verified: VerifiedBundle) -> Commit | None:
    """The commit of this very bundle, if it was imported before."""
    try:
        commit = read_commit(store, verified.manifest.id)
    except (StateError, FormatError):
        return None
    if commit.manifest != verified.digest:
        raise StateError(
            f"another bundle was imported as {commit.id} before (its manifest is {commit.manifest[:12]}…, this one's "
            f"{verified.digest[:12]}…); an id is never used twice",
            remedy="Ask the factory which of the two is right. Nothing was imported.",
        )
    return commit


def _require_order(store: ArtifactStore, verified: VerifiedBundle, allow_older: bool) -> None:
    manifest = verified.manifest
    newer = [one.id for one in list_bundles(store) if one.stream == manifest.stream and one.serial > manifest.serial]
    if newer and not allow_older:
        raise StateError(
            f"{manifest.id} is older than {newer[-1]}, which is here already",
            remedy="If it is meant: --allow-older. The ledger will say so.",
        )


def _files(verified: VerifiedBundle) -> list[_File]:
    """Every file that the store must have, besides the commit file; content first, then what names it."""
    held = {entry.sha256: entry for entry in verified.content}
    wanted: dict[str, _File] = {}
    for artifact in verified.lock.artifacts:
        entry = held[artifact.sha256]
        path = names.store_path(artifact.sha256, artifact.file)
        wanted[path] = _File(path, verified.folder / entry.path, entry.sha256, entry.size)
    base = f"{BUNDLES}/{verified.manifest.id}"
    for entry in verified.manifest.files:
        source = verified.folder / entry.path
        paths = [f"{base}/{entry.path}"]
        parts = PurePosixPath(entry.path).parts
        if parts[:2] == (names.INDEXES, "apt") and parts[3:4] == (DISTS,) and len(parts) > 5:
            paths.append("/".join([DISTS, verified.manifest.id, parts[2], *parts[4:]]))
        for path in paths:
            wanted[path] = _File(path, source, entry.sha256, entry.size)
    for name, data in ((names.SUMS, verified.sums), (names.MANIFEST, verified.document)):
        path = f"{base}/{name}"
        wanted[path] = _File(path, verified.folder / name, sha256_bytes(data), len(data))
    return list(wanted.values())


def _bring(store: ArtifactStore, files: list[_File], reporter: Reporter) -> tuple[list[_File], int]:
    """Copy what the store does not hold whole, read all of that back; (what was copied, number of files held)."""

    def lacks(file: _File) -> bool:
        return not store.exists(file.path, file.size) or store.digest(file.path) != (file.sha256, file.size)

    with reporter.task("comparing with the store", sum(file.size for file in files)) as task:
        lacking = []
        for file, absent in in_threads(lacks, files):
            task.advance(file.size, file.path)
            if absent:
                lacking.append(file)
    store.require(sum(-(-file.size // BLOCK) * BLOCK + BLOCK for file in lacking), "the import")

    def put(file: _File) -> None:
        store.put(file.path, file.source, sha256=file.sha256, size=file.size)

    since = 0
    with reporter.task("copying into the store", sum(file.size for file in lacking)) as task:
        for file, _ in in_threads(put, lacking):
            task.advance(file.size, file.path)
            since += file.size
            if since >= BATCH:
                store.sync()
                since = 0
    store.sync()
    _read_back(store, lacking, reporter)
    return lacking, len(files) - len(lacking)


def _read_back(store: ArtifactStore, files: list[_File], reporter: Reporter) -> None:
    with reporter.task("reading back", sum(file.size for file in files)) as task:
        for file, found in in_threads(lambda file: store.digest(file.path), files):
            task.advance(file.size, file.path)
            if found != (file.sha256, file.size):
                raise IntegrityError(
                    f"the store does not give back what was written: {file.path} is {found or 'missing'}",
                    remedy="Check the disk of the store, then run the same command again.",
                )


def _commit(
    store: ArtifactStore,
    site: Site,
    verified: VerifiedBundle,
    result: ImportResult,
    before: Commit | None,
    allow_older: bool,
) -> None:
    """Ledger first, then the commit file that names the entry: no bundle counts that the ledger does not know."""
    manifest = verified.manifest
    facts = msgspec.to_builtins(result) | {
        "mended": before is not None,
        "waiver": "" if result.expected else "no digest was given to compare the manifest with",
        "allow_older": allow_older,
        "lock": manifest.lock,
        "definition": manifest.definition,
        "factory_ledger_head": manifest.ledger_head,
        "source": str(verified.folder),
    }
    for key in ("already", "expected", "base_images"):
        del facts[key]
    entry = ledger.append(site.ledger, VERB, facts)
    if before is not None:
        return
    commit = Commit(
        format=FORMAT,
        id=manifest.id,
        stream=manifest.stream,
        serial=manifest.serial,
        manifest=verified.digest,
        content_digest=manifest.content_digest,
        imported=entry.time,
        ledger=entry.hash,
    )
    store.put_bytes(f"{BUNDLES}/{manifest.id}/{names.COMMITTED}", commit.to_bytes())
    store.sync()
    if read_commit(store, manifest.id) != commit:
        raise IntegrityError(
            f"the store does not give back the commit file of {manifest.id}", remedy="Run the same command again."
        )
