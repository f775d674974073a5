"""Verify a bundle, which is hostile until that is done: nothing in it is executed, followed or believed before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from airlock.bundle import names
from airlock.bundle.manifest import (
    MAX_CONTENT,
    MAX_LOCK,
    MAX_MANIFEST,
    MAX_SUMS,
    FileEntry,
    Manifest,
    read_content,
    read_manifest,
    sums_bytes,
)
from airlock.bundle.media import Findings, hash_plain, read_plain, show, walk
from airlock.bundle.plan import content_entry
from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.errors import IncompleteError, IntegrityError, UsageError
from airlock.core.parallel import in_threads
from airlock.core.progress import Reporter
from airlock.lock.model import Lock, read_lock


class VerifiedBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was found whole.

    Attributes:
        digest: sha256 of MANIFEST.json: what the transfer paper says.
        document, sums: MANIFEST.json and SHA256SUMS as they were verified.
    """

    folder: Path
    manifest: Manifest
    digest: str
    document: bytes
    sums: bytes
    content: tuple[FileEntry, ...]
    lock: Lock

    @property
    def size(self) -> int:
        """Bytes of content and other files."""
        return sum(entry.size for entry in (*self.content, *self.manifest.files))


def verify_bundle(folder: Path, reporter: Reporter) -> VerifiedBundle:
    """Check everything about a bundle; all that is wrong is reported together.

    It proves that the folder holds exactly what its manifest says. Who made the manifest it cannot know: compare
    ``digest`` with the transfer paper.

    Raises:
        UsageError: there is no such folder.
        IncompleteError: files are missing (and nothing else is wrong), or there is no manifest.
        IntegrityError: files are changed, added, unreadable or unsafe, or the parts contradict each other.
        FormatError: whole, but not of a format that this version reads.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", remedy="Name the bundle's own folder, which holds MANIFEST.json.")
    folder = folder.resolve()
    findings = Findings(f"bundle {folder.name}")
    sizes = walk(folder, findings)
    document, sums = _read_first(folder, sizes, findings)
    manifest = read_manifest(document, f"{folder.name}/{names.MANIFEST}")

    contents, lock_data = (_part(folder, manifest, path, limit, sizes) for path, limit in _READ)
    expected = manifest.by_path
    if contents is None:  # of the pool nothing can be said then
        _compare(expected, {path: size for path, size in sizes.items() if not path.startswith(names.POOL)}, findings)
        _hash(folder, expected, sizes, findings, reporter)
        findings.refuse()
    content = read_content(contents, f"{folder.name}/{names.CONTENT}")
    if sums and sums != sums_bytes(document, manifest.files, content):
        findings.add("inconsistent", names.SUMS, "it does not say what MANIFEST.json and CONTENT.jsonl say")
    expected = expected | {entry.path: entry for entry in content}
    _compare(expected, sizes, findings)
    _hash(folder, expected, sizes, findings, reporter)
    _agree(manifest, content, findings)
    lock = None if lock_data is None else _lock(lock_data, manifest, content, findings)
    if lock is None:  # what is wrong with it has been found above
        findings.refuse()
    findings.check()
    return VerifiedBundle(
        folder=folder,
        manifest=manifest,
        digest=sha256_bytes(document),
        document=document,
        sums=sums,
        content=content,
        lock=lock,
    )


_READ = ((names.CONTENT, MAX_CONTENT), (names.LOCK, MAX_LOCK))


def _read_first(folder: Path, sizes: Mapping[str, int], findings: Findings) -> tuple[bytes, bytes]:
    """MANIFEST.json and SHA256SUMS, the one compared with the other before it is parsed."""
    if names.MANIFEST not in sizes:
        if any(finding.path == names.MANIFEST for finding in findings.found):  # a link, a pipe …
            findings.refuse()
        raise IncompleteError(
            f"{folder} has no {names.MANIFEST}: it is no bundle, or one that was not finished",
            remedy="Run `airlock bundle` to the same media again; it goes on from there.",
        )
    try:
        document = read_plain(folder / names.MANIFEST, MAX_MANIFEST)
        sums = read_plain(folder / names.SUMS, MAX_SUMS) if names.SUMS in sizes else b""
    except OSError as error:
        findings.add("unreadable", Path(error.filename or folder).name, error.strerror or "")
        findings.refuse()
    if names.SUMS not in sizes:
        findings.add("missing", names.SUMS)
    elif f"{sha256_bytes(document)}  {names.MANIFEST}\n".encode() not in sums.splitlines(keepends=True):
        findings.add("wrong content", names.MANIFEST, f"its sha256 is not the one in {names.SUMS}")
        findings.refuse()
    return document, sums


def _part(folder: Path, manifest: Manifest, path: str, limit: int, sizes: Mapping[str, int]) -> bytes | None:
    """A file on which the rest depends; None where it is not what the manifest says, which the comparison reports."""
    entry = manifest.by_path[path]
    if sizes.get(path) != entry.size:
        return None
    try:
        data = read_plain(folder / path, limit)
    except OSError:
        return None
    return data if sha256_bytes(data) == entry.sha256 else None


def _compare(expected: Mapping[str, FileEntry], sizes: Mapping[str, int], findings: Findings) -> None:
    for path in sorted(expected.keys() - sizes.keys()):
        findings.add("missing", path)
    for path in sorted(sizes.keys() - expected.keys() - {names.MANIFEST, names.SUMS}):
        findings.add("unexpected", path, "no manifest names it")
    for path in sorted(expected.keys() & sizes.keys()):
        if sizes[path] != expected[path].size:
            findings.add("wrong size", path, f"{sizes[path]} bytes, {expected[path].size} expected")


def _lock(data: bytes, manifest: Manifest, content: tuple[FileEntry, ...], findings: Findings) -> Lock:
    """The lock, compared with the content it names."""
    lock = read_lock(data, names.LOCK)
    if lock.header.definition != manifest.definition:
        findings.add("inconsistent", names.LOCK, "it was made for another definition than MANIFEST.json names")
    counts = (lock.header.images, lock.header.demands, lock.header.artifacts)
    if counts != (len(lock.images), len(lock.demands), len(lock.artifacts)):
        findings.add("inconsistent", names.LOCK, "it holds other numbers of lines than its header says")
    held = {entry.sha256: entry for entry in content}
    for artifact in lock.artifacts:
        try:
            names.check_component(artifact.file)
        except IntegrityError:
            findings.add("inconsistent", names.LOCK, f"{show(artifact.id)} has the unsafe file name {artifact.file!r}")
            continue
        entry = held.get(artifact.sha256)
        if entry is None:
            findings.add(
                "missing", content_entry(artifact).path, f"{show(artifact.id)}, which {names.CONTENT} does not name"
            )
        elif entry.size != artifact.size:
            findings.add("inconsistent", entry.path, f"{show(artifact.id)} has {artifact.size} bytes in the lock")
    for sha256 in held.keys() - {artifact.sha256 for artifact in lock.artifacts}:
        findings.add("inconsistent", held[sha256].path, "no artifact of the lock")
    return lock


def _hash(
    folder: Path,
    expected: Mapping[str, FileEntry],
    sizes: Mapping[str, int],
    findings: Findings,
    reporter: Reporter,
) -> None:
    whole = [entry for entry in expected.values() if sizes.get(entry.path) == entry.size]

    def wrong(entry: FileEntry) -> tuple[bool, str]:
        try:
            return hash_plain(folder / entry.path, entry.size) != entry.sha256, ""
        except OSError as error:
            return True, error.strerror or "cannot be read"

    with reporter.task("verifying the bundle", sum(entry.size for entry in whole)) as task:
        for entry, (bad, reason) in in_threads(wrong, whole):
            task.advance(entry.size, entry.path)
            if bad:
                findings.add("unreadable" if reason else "wrong content", entry.path, reason)


def _agree(manifest: Manifest, content: tuple[FileEntry, ...], findings: Findings) -> None:
    """What MANIFEST.json says besides the files follows from them."""
    totals = (len(content), sum(entry.size for entry in content))
    if totals != (manifest.content.files, manifest.content.size):
        findings.add("inconsistent", names.CONTENT, "it holds other totals than MANIFEST.json says")
    prefix = f"{names.DEFINITION}/"
    digests = {
        entry.path.removeprefix(prefix): entry.sha256 for entry in manifest.files if entry.path.startswith(prefix)
    }
    if sha256_bytes(canonical(digests)) != manifest.definition:  # see definition.load.definition_digest
        findings.add("inconsistent", prefix, "its digest is not the one in MANIFEST.json")
