"""Where a path inside an image comes from: the source archive, context file, download or text behind it."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import msgspec

from airlock.kolla.reading.filesystem import is_below, normalise
from airlock.kolla.reading.model import EditAt, FileAt, FileRef, GoneRef, ImageState, Link, SourceRef


def resolve_path(state: ImageState, path: str) -> FileRef | None:
    """What is at ``path`` (absolute; globs stay globs) when exactly one thing can be; None otherwise.

    ``/requirements/upper-constraints.txt`` leads through ``ln -s openstack-base-source/* /requirements`` to
    ``SourceRef(archive="openstack-base-archive", inner="upper-constraints.txt", edits=…)``.
    """
    found = resolve_paths(state, path)
    return found[0] if len(found) == 1 else None


def resolve_paths(state: ImageState, path: str) -> tuple[FileRef, ...]:
    """Everything that may be at ``path``: ``/plugins/*`` is every plugins archive of this image and its parents."""
    return find(state.files, state.links, state.edits, path)


def find(files: Sequence[FileAt], links: Sequence[Link], edits: Sequence[EditAt], path: str) -> tuple[FileRef, ...]:
    """As ``resolve_paths``, on the lists themselves."""
    for candidate in reversed(_follow(links, normalise(path))):
        refs = _at(files, candidate)
        if refs:
            found = tuple(entry.edit for entry in edits if entry.path == candidate)
            return tuple(msgspec.structs.replace(ref, edits=(*ref.edits, *found)) for ref in refs)
    return ()


def _follow(links: Sequence[Link], path: str) -> list[str]:
    found = [path]
    for _ in range(8):
        for link in reversed(links):
            if is_below(found[-1], link.path):
                found.append(normalise(link.target + found[-1][len(link.path) :]))
                break
        else:
            break
    return found


def _at(files: Sequence[FileAt], path: str) -> list[FileRef]:
    refs: list[FileRef] = []
    for entry in reversed(files):
        if isinstance(entry.ref, GoneRef) and is_below(path, entry.path):
            return refs or ([entry.ref] if entry.path == path else [])
        if entry.path == path and not isinstance(entry.ref, SourceRef):
            return refs or [entry.ref]
        if isinstance(entry.ref, SourceRef) and is_below(path, entry.path):
            ref = _inside(entry, path)
            if ref not in refs:
                refs.append(ref)
            if entry.ref.top:
                return refs
    return refs[::-1]


def _inside(entry: FileAt, path: str) -> SourceRef:
    """``entry`` is an archive unpacked at its path; the ref of ``path`` within it."""
    assert isinstance(entry.ref, SourceRef)
    rest = posixpath.relpath(path, entry.path)
    if not entry.ref.top:
        inner = posixpath.normpath(posixpath.join(entry.ref.inner, rest))
        return msgspec.structs.replace(entry.ref, inner=inner)
    first, _, inner = rest.partition("/")
    if first == "*":
        return msgspec.structs.replace(entry.ref, inner=inner)
    return msgspec.structs.replace(entry.ref, inner="" if first == "." else rest, top=False)
