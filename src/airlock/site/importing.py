"""Import a bundle into the site's store: verified first, hashed while copied, read back, committed last."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from airlock.bundle import names
from airlock.bundle.stored import BUNDLES, DISTS, FORMAT, Commit, Found, find_commit, read_commits
from airlock.bundle.verify import VerifiedBundle, verify_bundle
from airlock.core.digest import is_sha256, sha256_bytes
from airlock.core.errors import FormatError, IntegrityError, StateError, UsageError
from airlock.core.files import exclusive
from airlock.core.parallel import in_threads
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.lock.stand_ins import Proven, proven, require_real
from airlock.site.base_images import BaseImage, push_base_images
from airlock.site.seeding import Seeded, require_means, seed
from airlock.store.artifacts import ArtifactStore, store_path
from airlock.store.bring import Item, bring
from airlock.store.opening import open_store

VERB = "import"
IMAGES = "import-base-images"
BLOCK = 4096


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did.

    Attributes:
        manifest: sha256 of MANIFEST.json.
        proven: what its images stand on.
        expected: it was compared with a digest that came another way; else the waiver stands in the ledger.
        copied, copied_size: files and bytes that were written.
        held: files that the store held already, whole.
        already: the bundle had been imported; ``copied`` > 0 then means that it was mended.
        base_images: what the registry has of the bundle's base images by now.
        repositories: what Gerrit has of the bundle's git repositories by now; none where the site has no Gerrit.
    """

    id: str
    stream: str
    serial: int
    manifest: str
    content_digest: str
    proven: Proven
    expected: bool
    copied: int
    copied_size: int
    held: int
    already: bool
    base_images: tuple[BaseImage, ...] = ()
    repositories: tuple[Seeded, ...] = ()


def import_bundle(
    folder: Path, site: Site, *, expect: str | None, allow_older: bool, reporter: Reporter
) -> ImportResult:
    """Import the bundle in ``folder`` into the site's artifact store.

    Whatever happens on the way, bundles that were imported before stay usable; the same command again finishes it. Base
    images go into the registry, and git repositories into Gerrit, last: the bundle counts by then.

    Args:
        expect: the sha256 of MANIFEST.json that the transfer paper names; None is recorded as a waiver.
        allow_older: take a serial older than one of the same stream that is here.

    Raises:
        UsageError: ``expect`` is no sha256, or is missing although site.toml requires it; Gerrit's password cannot be
            read; a Nexus does not let this user do it; see also ``site.seeding.seed``.
        IncompleteError, IntegrityError, FormatError: see ``verify_bundle``; IntegrityError also for another digest than
            expected, and for a store that does not give back what it was given.
        StateError: an older serial; an id used before for something else; another import is running; images stand on
            stand-ins, and site.toml refuses these.
        SpaceError: the store has no room.
        UpstreamError: a Nexus does not answer, the registry does not take a base image, Gerrit cannot be reached.
    """
    wanted = _expected(expect, site)
    require_means(site)
    with open_store(site) as store:
        store.ready()
        verified = verify_bundle(folder, reporter)
        if wanted and verified.digest != wanted:
            raise IntegrityError(
                f"{folder} has the manifest {verified.digest}, not the expected {wanted}",
                remedy="Nothing was imported. Compare with the transfer paper; ask whoever wrote the bundle.",
            )
        if site.settings.build.stand_ins == "refuse":
            require_real(verified.lock, f"{folder}, bundle {verified.manifest.id}")
        with exclusive(site.state / "import.lock", f"the store {store.name}"):
            return _import(store, site, verified, bool(wanted), allow_older, reporter)


def _import(
    store: ArtifactStore, site: Site, verified: VerifiedBundle, expected: bool, allow_older: bool, reporter: Reporter
) -> ImportResult:
    commit = _known(store, verified)
    items = _items(verified)
    absent: set[str] = set()
    if commit is None:  # else everything should be there, and a listing would tell nothing
        bundles, absent = _survey(store, items, reporter)
        _require_order(store, bundles, verified, allow_older)
    copied = _lacking(store, items, absent, reporter)
    _require_room(store, copied, reporter)
    bring(store, copied, reporter)
    result = ImportResult(
        id=verified.manifest.id,
        stream=verified.manifest.stream,
        serial=verified.manifest.serial,
        manifest=verified.digest,
        content_digest=verified.manifest.content_digest,
        proven=proven(verified.lock),
        expected=expected,
        copied=len(copied),
        copied_size=sum(item.size for item in copied),
        held=len(items) - len(copied),
        already=commit is not None,
    )
    if commit is None or copied:
        _commit(store, site, verified, result, commit, allow_older)
    base_images = push_base_images(verified, site, reporter)
    if any(image.sent for image in base_images):
        ledger.append(
            site.ledger, IMAGES, {"id": result.id, "images": [msgspec.to_builtins(image) for image in base_images]}
        )
    repositories = seed(verified.lock, result.id, store, site, reporter)
    return msgspec.structs.replace(result, base_images=tuple(base_images), repositories=tuple(repositories))


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
        commit = find_commit(store, verified.manifest.id)
    except (FormatError, IntegrityError):
        return None
    if commit is not None and commit.manifest != verified.digest:
        raise StateError(
            f"another bundle was imported as {commit.id} before (its manifest is {commit.manifest[:12]}…, this one's "
            f"{verified.digest[:12]}…); an id is never used twice",
            remedy="Ask the factory which of the two is right. Nothing was imported.",
        )
    return commit


def _survey(store: ArtifactStore, items: list[Item], reporter: Reporter) -> tuple[list[str], set[str]]:
    """(ids of committed bundles, paths of ``items`` that are not there): one listing of the store tells both."""
    absent = {item.path for item in items}
    found = Found()
    with reporter.task("listing the store", len(items), unit="items") as task:
        for file in store.list(""):
            found.add(file.path)
            if file.path in absent:
                absent.discard(file.path)
                task.advance(1)
    return found.committed, absent


def _require_order(store: ArtifactStore, bundles: list[str], verified: VerifiedBundle, allow_older: bool) -> None:
    manifest = verified.manifest
    known = read_commits(store, bundles)
    newer = [one.id for one in known if one.stream == manifest.stream and one.serial > manifest.serial]
    if newer and not allow_older:
        raise StateError(
            f"{manifest.id} is older than {newer[-1]}, which is here already",
            remedy="If it is meant: --allow-older. The ledger will say so.",
        )


def _items(verified: VerifiedBundle) -> list[Item]:
    """Every file that the store must have, besides the commit file; content first, then what names it."""
    held = {entry.sha256: entry for entry in verified.content}
    wanted: dict[str, Item] = {}
    for artifact in verified.lock.artifacts:
        entry = held[artifact.sha256]
        path = store_path(artifact.sha256, artifact.file)
        wanted[path] = Item(path, verified.folder / entry.path, entry.sha256, entry.size)
    base = f"{BUNDLES}/{verified.manifest.id}"
    for entry in verified.manifest.files:
        source = verified.folder / entry.path
        paths = [f"{base}/{entry.path}"]
        parts = PurePosixPath(entry.path).parts
        if parts[:2] == (names.INDEXES, "apt") and parts[3:4] == (DISTS,) and len(parts) > 5:
            paths.append("/".join([DISTS, verified.manifest.id, parts[2], *parts[4:]]))
        for path in paths:
            wanted[path] = Item(path, source, entry.sha256, entry.size)
    for name, data in ((names.SUMS, verified.sums), (names.MANIFEST, verified.document)):
        path = f"{base}/{name}"
        wanted[path] = Item(path, verified.folder / name, sha256_bytes(data), len(data))
    return list(wanted.values())


def _lacking(store: ArtifactStore, items: list[Item], absent: set[str], reporter: Reporter) -> list[Item]:
    """What the store does not hold whole. What it is not known to lack is hashed, whatever its size and time say.

    Args:
        absent: paths that are known not to be there.
    """
    asked = [item for item in items if item.path not in absent]
    lacking = set(absent)
    with reporter.task("comparing with the store", sum(item.size for item in asked)) as task:
        for item, found in in_threads(lambda item: store.digest(item.path), asked, store.streams):
            task.advance(item.size, item.path)
            if found != (item.sha256, item.size):
                lacking.add(item.path)
    return [item for item in items if item.path in lacking]


def _require_room(store: ArtifactStore, lacking: list[Item], reporter: Reporter) -> None:
    needed = sum(-(-item.size // BLOCK) * BLOCK + BLOCK for item in lacking)
    if lacking and not store.require(needed, "the import"):
        reporter.say(
            f"the import needs {needed / 1e6:,.0f} MB in {store.name}; how much is free there this user may not see"
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
        "stand_ins": result.proven.stand_ins,
        "source": str(verified.folder),
    }
    for key in ("already", "expected", "base_images", "repositories", "proven"):
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
    if find_commit(store, manifest.id) != commit:
        raise IntegrityError(
            f"the store does not give back the commit file of {manifest.id}", remedy="Run the same command again."
        )
