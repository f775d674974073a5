"""What a lock says of its images as a whole: who is built on whom, how much each brings, what several of them share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from airlock.lock.model import Artifact, Demand, Lock

Key = tuple[str, str]
"""(architecture, name of the image)."""


class Totals(msgspec.Struct, frozen=True):
    """How many different files, and their bytes together."""

    files: int = 0
    size: int = 0


class ImageFacts(msgspec.Struct, frozen=True):
    """One image.

    Attributes:
        chain: its ancestors, the parent first; the last one is a root.
        children: images built directly on it.
        demands: how many it has of its own.
        own: what answers its own demands.
        whole: that and what its ancestors have: all that a build of it alone would take.
        kinds: ``own`` by kind of artifact.
    """

    arch: str
    name: str
    chain: tuple[str, ...]
    children: tuple[str, ...]
    demands: int
    own: Totals
    whole: Totals
    kinds: dict[str, Totals]

    @property
    def key(self) -> Key:
        """Identity."""
        return (self.arch, self.name)


class SharedFile(msgspec.Struct, frozen=True):
    """A file that several images ask for themselves."""

    id: str
    size: int
    images: int


class Shared(msgspec.Struct, frozen=True):
    """What is carried once and asked for more often.

    Attributes:
        files: files that at least two images ask for themselves.
        saved: bytes that a bundle would hold more if each image brought its own.
        apart: bytes of all images if each was carried alone, with its ancestors.
        most: the files that save most.
    """

    files: Totals
    saved: int
    apart: int
    most: tuple[SharedFile, ...]


class Survey(msgspec.Struct, frozen=True):
    """A lock as a whole; ``images`` sorted by architecture and name, ``kinds`` of all artifacts."""

    images: tuple[ImageFacts, ...]
    kinds: dict[str, Totals]
    shared: Shared


MOST = 20


def parents_of(lock: Lock) -> dict[Key, Key]:
    """Image → its parent, which need not be an image of the lock."""
    return {image.key: (image.arch, image.parent) for image in lock.images}


def ancestry(parents: Mapping[Key, Key], key: Key) -> Iterator[Key]:
    """The image, its parent, and so on to the root; ends as well where an edited lock goes in circles."""
    seen: set[Key] = set()
    while key in parents and key not in seen:
        seen.add(key)
        yield key
        key = parents[key]


def own_demands(lock: Lock) -> dict[Key, list[Demand]]:
    """Demands by image; those of no image (tools, git) are left out."""
    found: dict[Key, list[Demand]] = {image.key: [] for image in lock.images}
    for demand in lock.demands:
        if demand.image:
            found.setdefault((demand.arch, demand.image), []).append(demand)
    return found


def survey(lock: Lock) -> Survey:
    """Look at a whole lock; in time that grows with its lines."""
    by_id, demands, parents = lock.by_id, own_demands(lock), parents_of(lock)
    files = {key: _files(asked, by_id) for key, asked in demands.items()}
    children: dict[Key, list[str]] = {}
    for key, parent in parents.items():
        children.setdefault(parent, []).append(key[1])
    images = []
    for key in sorted(parents):
        line = list(ancestry(parents, key))
        whole: dict[str, Artifact] = {}
        for one in line:
            whole |= files[one]
        images.append(
            ImageFacts(
                arch=key[0],
                name=key[1],
                chain=tuple(name for _, name in line[1:]),
                children=tuple(sorted(children.get(key, ()))),
                demands=len(demands[key]),
                own=_totals(files[key].values()),
                whole=_totals(whole.values()),
                kinds=_by_kind(files[key].values()),
            )
        )
    return Survey(tuple(images), _by_kind(lock.artifacts), _shared(files, images))


def _files(demands: Iterable[Demand], by_id: Mapping[str, Artifact]) -> dict[str, Artifact]:
    """sha256 → artifact, of all that answers some demands; an answer that is not in the lock is a gap, not a size."""
    found = (by_id[ident] for demand in demands for ident in demand.artifacts if ident in by_id)
    return {artifact.sha256: artifact for artifact in found}


def _totals(artifacts: Iterable[Artifact]) -> Totals:
    sizes = [artifact.size for artifact in artifacts]
    return Totals(len(sizes), sum(sizes))


def _by_kind(artifacts: Iterable[Artifact]) -> dict[str, Totals]:
    found: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        found.setdefault(artifact.kind, []).append(artifact)
    return {kind: _totals(found[kind]) for kind in sorted(found)}


def _shared(files: Mapping[Key, Mapping[str, Artifact]], images: Iterable[ImageFacts]) -> Shared:
    askers: dict[str, int] = {}
    known: dict[str, Artifact] = {}
    for own in files.values():
        known |= own
        for sha256 in own:
            askers[sha256] = askers.get(sha256, 0) + 1
    twice = [SharedFile(known[sha256].id, known[sha256].size, count) for sha256, count in askers.items() if count > 1]
    twice.sort(key=lambda file: (-file.size * (file.images - 1), file.id))
    return Shared(
        files=Totals(len(twice), sum(file.size for file in twice)),
        saved=sum(file.size * (file.images - 1) for file in twice),
        apart=sum(image.whole.size for image in images),
        most=tuple(twice[:MOST]),
    )
