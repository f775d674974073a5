"""What a site holds, has built, and has room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from airlock.bundle.stored import Found, open_bundle
from airlock.core.errors import AirlockError, ChainError, UpstreamError, UsageError
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.lock.stand_ins import proven
from airlock.store.artifacts import ArtifactStore, store_path
from airlock.store.opening import open_store

MAX_RECORD = 256 << 20  # bytes


class WindowStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A firewall window of the factory's, as the manifest tells of it; ``backend`` is ``none`` where there was none.

    Attributes:
        held: everything that was tried to get past it was refused.
    """

    id: str = ""
    backend: str = ""
    verb: str = ""
    opened: str = ""
    closed: str = ""
    hosts: list[str] = []
    held: bool = False


class BundleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle of the store; ``problem`` says why it cannot be built from, empty if it can.

    Attributes:
        images, stand_ins: how many images it is for, and how many of these stand on stand-ins of real upstreams.
    """

    id: str
    serial: int = 0
    digest: str = ""
    manifest: str = ""
    imported: str = ""
    size: int = 0
    complete: bool = False
    images: int = 0
    stand_ins: int = 0
    windows: list[WindowStatus] = []
    problem: str = ""


class BuildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One build: what its record says first; ``state`` is ``unknown`` where there is no whole record.

    Attributes:
        images, stand_ins: how many images came out, and how many of these stand on stand-ins of real upstreams.
    """

    id: str
    state: str = "unknown"
    bundle: str = ""
    started: str = ""
    ended: str = ""
    images: int = 0
    stand_ins: int = 0


class SiteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """See ``site_status``.

    Attributes:
        store: its directory, or its address and repository.
        free: bytes that the store has room for; None where this user cannot tell.
        ledger_problem: why the chain does not hold, empty if it does.
    """

    name: str
    store: str
    bundles: list[BundleStatus]
    builds: list[BuildStatus]
    free: int | None
    ledger_entries: int
    ledger_head: str
    ledger_problem: str


class _Bundle(msgspec.Struct):
    id: str = ""


class _Image(msgspec.Struct):
    stand_ins: list[str] = []


class _Record(msgspec.Struct):
    """The part of a build record that is shown; everything else of it is passed over."""

    state: str = "unknown"
    bundle: _Bundle = msgspec.field(default_factory=_Bundle)
    started: str = ""
    ended: str = ""
    images: list[_Image] = []


def site_status(site: Site, *, builds: int = 10, check: Reporter | None = None) -> SiteStatus:
    """What the store holds, the last builds, free space, the ledger's head. Changes nothing.

    Args:
        builds: how many builds to name, newest first.
        check: hash every file of every bundle as well, and tell this reporter.
    """
    entries, head, problem = _ledger(site.ledger)
    with open_store(site) as store:
        found, held = Found(), {}
        for file in store.list(""):  # the one listing: a Nexus gives few files a page
            found.add(file.path)
            held[file.path] = file.size
        bundles = [_bundle(store, ident, committed, held, check) for ident, committed in found.bundles.items()]
        free = store.free()
    return SiteStatus(
        name=site.settings.name,
        store=store.name,
        bundles=sorted(bundles, key=lambda bundle: (bundle.id.rpartition("-r")[0], bundle.serial)),
        builds=_builds(site.records)[:builds],
        free=free,
        ledger_entries=entries,
        ledger_head=head,
        ledger_problem=problem,
    )


def _bundle(
    store: ArtifactStore, ident: str, committed: bool, held: Mapping[str, int], check: Reporter | None
) -> BundleStatus:
    if not committed:
        return BundleStatus(id=ident, problem="its import did not come to its end; import it again")
    try:
        bundle = open_bundle(store, ident)
        lost = sorted(
            artifact.id
            for artifact in bundle.lock.artifacts
            if held.get(store_path(artifact.sha256, artifact.file)) != artifact.size
        )
        if check is not None:
            bundle.check(check)
    except (UpstreamError, UsageError):  # it is the store, not the bundle
        raise
    except AirlockError as error:
        return BundleStatus(id=ident, problem=error.message)
    manifest = bundle.manifest
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return BundleStatus(
        id=ident,
        serial=manifest.serial,
        digest=manifest.content_digest,
        manifest=bundle.manifest_digest,
        imported=bundle.commit.imported,
        size=manifest.content.size,
        complete=not lost,
        images=len(bundle.lock.images),
        stand_ins=proven(bundle.lock).stand_ins,
        windows=_windows(manifest.windows),
        problem=f"the store has lost {', '.join(lost[:3])}{more}; import it again" if lost else "",
    )


def _windows(told: Sequence[Mapping[str, Any]]) -> list[WindowStatus]:
    try:
        return [msgspec.convert(one, WindowStatus) for one in told]
    except msgspec.ValidationError:  # of a newer factory: the records say it
        return []


def _builds(records: Path) -> list[BuildStatus]:
    """Builds, newest first; a folder without a readable record is a build that was cut off."""
    if not records.is_dir():
        return []
    found = []
    for folder in records.iterdir():
        if not folder.is_dir():
            continue
        path = folder / "record.json"
        try:
            if path.stat().st_size > MAX_RECORD:
                raise OSError
            record = msgspec.json.decode(path.read_bytes(), type=_Record)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            found.append(BuildStatus(id=folder.name))
            continue
        found.append(
            BuildStatus(
                id=folder.name,
                state=record.state,
                bundle=record.bundle.id,
                started=record.started,
                ended=record.ended,
                images=len(record.images),
                stand_ins=sum(bool(image.stand_ins) for image in record.images),
            )
        )
    return sorted(found, key=lambda build: (build.started, build.id), reverse=True)


def _ledger(path: Path) -> tuple[int, str, str]:
    count, head = 0, ledger.GENESIS
    try:
        for entry in ledger.entries(path):
            count, head = entry.seq, entry.hash
    except ChainError as error:
        return count, head, error.message
    return count, head, ""
