"""Write a bundle to the media: hashed while copied, resumable, the manifest last."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from airlock.bundle import names
from airlock.bundle.manifest import FileEntry, Manifest, sums_bytes
from airlock.bundle.plan import Plan
from airlock.core.digest import sha256_bytes, sha256_file
from airlock.core.errors import IncompleteError, IntegrityError, StateError
from airlock.core.files import PART, copy_file, require_space, sync_filesystem, write_file
from airlock.core.parallel import in_threads
from airlock.core.progress import Reporter
from airlock.core.space import space_error
from airlock.store.pool import Pool

BATCH = 1 << 30  # bytes between two syncs, so that a slow medium is not a surprise at the end
BLOCK = 4096
SHOWN = 20


class BundleInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle on the media.

    Attributes:
        manifest: sha256 of MANIFEST.json, for the transfer paper and ``import --expect``.
        files, size: of everything in the folder.
        written: bytes that had to be written now.
        already: it was there and whole; nothing was written.
    """

    id: str
    path: str
    serial: int
    manifest: str
    content_digest: str
    files: int
    size: int
    written: int
    already: bool


def write_plan(plan: Plan, pool: Pool, media: Path, serial: int, ledger_head: str, reporter: Reporter) -> BundleInfo:
    """Write ``<media>/<definition's name>-r<serial>/``; what is there already with the right hash is not written again.

    Raises:
        IncompleteError: files of the lock are not in the pool; nothing was written.
        StateError: the folder holds another bundle or foreign files.
        SpaceError: the media have no room; checked before the work, and again by the media themselves.
        IntegrityError: a file of the pool is not what its name says.
    """
    manifest = plan.manifest(serial, ledger_head)
    document = manifest.to_bytes()
    sums = sums_bytes(document, plan.files, plan.content)
    folder = media / manifest.id
    require_pool(plan, pool)
    _require_own(folder, plan, manifest, document)
    _require_room(folder, plan)

    written = 0
    with space_error(media, f"bundle {manifest.id}"):
        for path in (names.CONTENT, names.LOCK):  # these say whose an unfinished folder is
            written += _write(folder / path, plan.sources[path])
        sync_filesystem(folder)
        for path, data in plan.sources.items():
            written += _write(folder / path, data)
        written += _copy_content(plan, pool, folder, reporter)
        written += _write(folder / names.SUMS, sums)
        sync_filesystem(folder)
        if _write(folder / names.MANIFEST, document, durable=True):
            written += len(document)
            sync_filesystem(folder)
    entries = (*plan.files, *plan.content)
    return BundleInfo(
        id=manifest.id,
        path=str(folder),
        serial=serial,
        manifest=sha256_bytes(document),
        content_digest=plan.content_digest,
        files=len(entries) + 2,
        size=sum(entry.size for entry in entries) + len(sums) + len(document),
        written=written,
        already=not written,
    )


def require_pool(plan: Plan, pool: Pool) -> None:
    """Check that every content file is in the pool, with its size.

    Raises:
        IncompleteError: naming the artifacts that are not.
    """
    gone = [entry for entry in plan.content if not pool.has(entry.sha256, entry.size)]
    if gone:
        named = [f"  {', '.join(plan.artifacts[entry.path])} ({entry.sha256[:12]}…)" for entry in gone[:SHOWN]]
        more = [f"  and {len(gone) - SHOWN} more"] if len(gone) > SHOWN else []
        raise IncompleteError(
            "\n".join([f"{len(gone)} files of the lock are not in the pool {pool.root}:", *named, *more]),
            remedy="Run `airlock refresh`, then `airlock validate`. Nothing was written.",
        )


def _require_own(folder: Path, plan: Plan, manifest: Manifest, document: bytes) -> None:
    """Refuse a folder that holds something else; remove what a killed run left half written."""
    elsewhere = "Choose another --media, or remove the folder if it is worth nothing."
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise StateError(f"{folder} is not a folder", remedy=elsewhere)
    marks = {
        names.MANIFEST: sha256_bytes(document),
        names.CONTENT: plan.content_digest,
        names.LOCK: plan.lock,
    }
    for name, digest in marks.items():
        place = folder / name
        if place.exists() and sha256_file(place)[0] != digest:
            raise StateError(
                f"{folder} holds another bundle under the id {manifest.id} (its {name} differs); an id is never used "
                "twice",
                remedy=elsewhere,
            )
    ours = {entry.path for entry in (*plan.content, *plan.files)} | {names.MANIFEST, names.SUMS}
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if Path(base, name).is_symlink()]
        for name in (*files, *links):
            place = Path(base, name)
            if name.endswith(PART):
                place.unlink()
            elif place.relative_to(folder).as_posix() not in ours or place.is_symlink():
                raise StateError(f"{place} is in the way: it is no file of {manifest.id}", remedy=elsewhere)


def _require_room(folder: Path, plan: Plan) -> None:
    entries = (*plan.content, *plan.files)
    needed = sum(-(-entry.size // BLOCK) * BLOCK for entry in entries if not _has_size(folder / entry.path, entry.size))
    needed += 200 * len(entries)
    require_space(folder, needed, f"bundle {folder.name}")


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _is(path: Path, sha256: str, size: int) -> bool:
    return _has_size(path, size) and sha256_file(path)[0] == sha256


def _write(path: Path, data: bytes, *, durable: bool = False) -> int:
    """Write a file that is not content, unless it is there already; bytes written."""
    if _is(path, sha256_bytes(data), len(data)):
        return 0
    write_file(path, data, durable=durable)
    return len(data)


def _copy_content(plan: Plan, pool: Pool, folder: Path, reporter: Reporter) -> int:
    def copy(entry: FileEntry) -> int:
        target = folder / entry.path
        if _is(target, entry.sha256, entry.size):
            return 0
        try:
            copy_file(pool.path(entry.sha256), target, sha256=entry.sha256, size=entry.size, durable=False)
        except IntegrityError as error:
            raise IntegrityError(
                f"{', '.join(plan.artifacts[entry.path])}: {error.message}",
                remedy=f"Remove {pool.path(entry.sha256)} and run `airlock refresh`; check the disk.",
            ) from None
        return entry.size

    written = since = 0
    with reporter.task("writing the bundle", sum(entry.size for entry in plan.content)) as task:
        for entry, count in in_threads(copy, _in_order(plan.content)):
            task.advance(entry.size, entry.path)
            written += count
            since += count
            if since >= BATCH:
                sync_filesystem(folder)
                since = 0
    return written


def _in_order(content: Iterable[FileEntry]) -> list[FileEntry]:
    """Large files first: what does not fit fails early, and the threads end together."""
    return sorted(content, key=lambda entry: (-entry.size, entry.path))
