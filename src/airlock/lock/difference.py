"""What changed from one lock to another, by project and by image: what a reviewer wants to read before saying yes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from airlock.lock.model import Artifact, Image, Lock
from airlock.lock.survey import Key, ancestry, own_demands, parents_of


class ProjectChange(msgspec.Struct, frozen=True):
    """One project or package.

    Attributes:
        kind: ``deb``, ``python`` (wheels and sdists), ``source`` …
        before, after: versions, sorted; none where it was added or removed.
        size_before, size_after: bytes of its files.
        files: ids that are in one of the locks alone, or are other bytes there.
        images: ``name (arch)`` of those whose own demands it answers, before or after.
        inherited: how many more have it because they are built on those.
    """

    kind: str
    name: str
    upstream: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    size_before: int
    size_after: int
    files: tuple[str, ...]
    images: tuple[str, ...]
    inherited: int


class ImageChange(msgspec.Struct, frozen=True):
    """One image, and which of its line's fields, of its ``demands`` and of their ``answers`` differ."""

    arch: str
    name: str
    what: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True):
    """Two locks.

    Attributes:
        same: byte for byte.
        header: field of the first line → what it was and what it is (counts left out).
        added, removed, changed: projects.
        images_added, images_removed: ``name (arch)``.
        images_changed: images of both, rendered otherwise or answered otherwise.
        size_before, size_after: bytes of all artifacts.
    """

    same: bool
    header: dict[str, tuple[str, str]]
    added: tuple[ProjectChange, ...]
    removed: tuple[ProjectChange, ...]
    changed: tuple[ProjectChange, ...]
    images_added: tuple[str, ...]
    images_removed: tuple[str, ...]
    images_changed: tuple[ImageChange, ...]
    size_before: int
    size_after: int


_PYTHON = ("wheel", "sdist")
_RENDERED = ("base", "parent", "dockerfile", "context", "sealed")
Project = tuple[str, str]


def difference(old: Lock, new: Lock) -> Difference:
    """Compare two locks."""
    before, after = _projects(old), _projects(new)
    changes = [
        _change(project, before.get(project, []), after.get(project, []), old, new)
        for project in sorted(before.keys() | after.keys())
        if _files(before.get(project, [])) != _files(after.get(project, []))
    ]
    images_before, images_after = ({image.key: image for image in lock.images} for lock in (old, new))
    return Difference(
        same=old.to_bytes() == new.to_bytes(),
        header=_header(old, new),
        added=tuple(one for one in changes if not one.size_before and not one.before),
        removed=tuple(one for one in changes if not one.size_after and not one.after),
        changed=tuple(one for one in changes if one.before and one.after),
        images_added=tuple(_shown(key) for key in sorted(images_after.keys() - images_before.keys())),
        images_removed=tuple(_shown(key) for key in sorted(images_before.keys() - images_after.keys())),
        images_changed=tuple(_images(old, new, images_before, images_after)),
        size_before=sum(artifact.size for artifact in old.artifacts),
        size_after=sum(artifact.size for artifact in new.artifacts),
    )


def _projects(lock: Lock) -> dict[Project, list[Artifact]]:
    found: dict[Project, list[Artifact]] = {}
    for artifact in lock.artifacts:
        kind = "python" if artifact.kind in _PYTHON else artifact.kind
        found.setdefault((kind, artifact.name), []).append(artifact)
    return found


def _files(artifacts: Iterable[Artifact]) -> set[Artifact]:
    return set(artifacts)


def _change(project: Project, before: list[Artifact], after: list[Artifact], old: Lock, new: Lock) -> ProjectChange:
    moved = _files(before) ^ _files(after)
    ids = {artifact.id for artifact in moved}
    asking: set[Key] = set()
    having: set[Key] = set()
    for lock in (old, new):
        parents = parents_of(lock)
        own = {(demand.arch, demand.image) for demand in lock.demands if demand.image and ids & set(demand.artifacts)}
        asking |= own
        having |= {key for key in parents if own & set(ancestry(parents, key))}
    return ProjectChange(
        kind=project[0],
        name=project[1],
        upstream=", ".join(sorted({artifact.upstream for artifact in moved})),
        before=tuple(sorted({artifact.version for artifact in before})),
        after=tuple(sorted({artifact.version for artifact in after})),
        size_before=sum(artifact.size for artifact in before),
        size_after=sum(artifact.size for artifact in after),
        files=tuple(sorted(ids)),
        images=tuple(_shown(key) for key in sorted(asking)),
        inherited=len(having - asking),
    )


def _header(old: Lock, new: Lock) -> dict[str, tuple[str, str]]:
    found = {}
    for name in ("release", "definition", "kolla", "witness", "requires"):
        was, now = (_words(getattr(lock.header, name)) for lock in (old, new))
        if was != now:
            found[name] = (was, now)
    return found


def _words(value: str | Mapping[str, str]) -> str:
    return value if isinstance(value, str) else ", ".join(f"{key} {value[key]}" for key in sorted(value))


def _images(old: Lock, new: Lock, before: Mapping[Key, Image], after: Mapping[Key, Image]) -> Iterable[ImageChange]:
    asked_before, asked_after = own_demands(old), own_demands(new)
    for key in sorted(before.keys() & after.keys()):
        what = [name for name in _RENDERED if getattr(before[key], name) != getattr(after[key], name)]
        was, now = ({demand.key: demand for demand in asked[key]} for asked in (asked_before, asked_after))
        if was.keys() != now.keys():
            what.append("demands")
        if any(was[one] != now[one] for one in was.keys() & now.keys()):
            what.append("answers")
        if what:
            yield ImageChange(*key, tuple(what))


def _shown(key: Key) -> str:
    return f"{key[1]} ({key[0]})"
