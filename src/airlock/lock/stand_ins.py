"""Which images a lock proves on real inputs, and which against stand-ins: upstreams that imitate one out of reach.

An upstream is one because factory.toml says so (``stand_in = true``). Which were is kept in the lock's transcript: a
lock that is solved again must say the same of itself, whatever the settings say by then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from airlock.core.canonical import canonical
from airlock.core.errors import IntegrityError, StateError
from airlock.core.settings import UpstreamTable
from airlock.fetch.transcript import read_transcript
from airlock.lock.model import Artifact, Lock
from airlock.lock.survey import Key, ancestry, parents_of
from airlock.store.pool import Pool

if TYPE_CHECKING:  # who only counts images in a lock need not wait for what asks upstreams
    from airlock.fetch.witness import Witness

KEPT = "stand-ins"
"""Name under which the lock step keeps the stand-ins' names in its transcript; nothing where there are none."""
NAMED = 8


class Proven(msgspec.Struct, frozen=True):
    """What a lock's images stand on.

    Attributes:
        real: how many images have real inputs alone, their ancestors' included.
        stand_ins: how many have an input from a stand-in, or an ancestor that has.
        against: architecture → each of the latter → the stand-ins, by name.
    """

    real: int
    stand_ins: int
    against: dict[str, dict[str, tuple[str, ...]]]

    def __str__(self) -> str:
        images = "image" if self.real == 1 else "images"
        return f"{self.real} {images} proven on real inputs, {self.stand_ins} against stand-ins"


def stand_in_names(witness: Witness, upstreams: Mapping[str, UpstreamTable]) -> frozenset[str]:
    """Names of the stand-ins that a solving asks: those of the settings, or, solved again, those that were kept."""
    names = frozenset(name for name in _kept(witness) if not (witness.frozen and witness.frozen.asks_anew(name)))
    if witness.live:
        names |= {name for name, table in upstreams.items() if table.stand_in}
    if names:
        witness.keep(KEPT, canonical(sorted(names)))
    return names


def _kept(witness: Witness) -> frozenset[str]:
    try:
        return frozenset(msgspec.json.decode(witness.kept(KEPT), type=list[str]))
    except IntegrityError:  # there were none, or this is the first solving
        return frozenset()


def mismarked(lock: Lock, pool: Pool) -> Iterator[tuple[Artifact, str]]:
    """Artifacts whose mark is not what the lock was solved against says, and what is wrong.

    Raises:
        IntegrityError, FormatError: what it was solved against is not whole in the pool.
    """
    entry = read_transcript(pool, lock.header.witness).find("", KEPT)
    names = frozenset(msgspec.json.decode(pool.read(entry.sha256), type=list[str]) if entry else ())
    for artifact in lock.artifacts:
        if artifact.stand_in != (_source(artifact) in names):
            known = "a stand-in" if not artifact.stand_in else "no stand-in"
            yield artifact, f"comes from {_source(artifact)}, which is {known}, and is marked otherwise"


def marked(artifacts: Iterable[Artifact], names: Collection[str]) -> list[Artifact]:
    """The artifacts, those from a stand-in marked; what the factory made of a repository is called after it."""
    return [msgspec.structs.replace(found, stand_in=True) if _source(found) in names else found for found in artifacts]


def _source(artifact: Artifact) -> str:
    return artifact.name if artifact.trust == "made" else artifact.upstream


def proven(lock: Lock) -> Proven:
    """Count the images of a lock by what they stand on."""
    own, parents = _own(lock), parents_of(lock)
    against: dict[str, dict[str, tuple[str, ...]]] = {}
    for key in parents:
        found = set[str]().union(*(own.get(one, {}).values() for one in ancestry(parents, key)))
        if found:
            against.setdefault(key[0], {})[key[1]] = tuple(sorted(found))
    count = sum(map(len, against.values()))
    return Proven(len(parents) - count, count, against)


def imitations(lock: Lock, arch: str) -> dict[str, list[str]]:
    """Image of an architecture → ids of the artifacts from stand-ins that went into it or an ancestor, if any did."""
    own, parents = _own(lock), parents_of(lock)
    found = {
        key[1]: sorted(set[str]().union(*(own.get(one, {}) for one in ancestry(parents, key))))
        for key in parents
        if key[0] == arch
    }
    return {image: ids for image, ids in found.items() if ids}


def require_real(lock: Lock, what: str) -> None:
    """See that no image of a lock stands on a stand-in.

    Args:
        what: for the message: the bundle.

    Raises:
        StateError: one does.
    """
    found = proven(lock)
    if not found.stand_ins:
        return
    images = [f"{image} ({arch})" for arch, against in found.against.items() for image in against]
    names = sorted({name for against in found.against.values() for one in against.values() for name in one})
    more = f" and {len(images) - NAMED} more" if len(images) > NAMED else ""
    raise StateError(
        f'{what}: {found}, which this site does not take (stand_ins = "refuse" under [build] in site.toml): '
        f"{', '.join(images[:NAMED])}{more} have inputs from {', '.join(names)}",
        remedy="Have the factory lock these from the real upstreams, or leave the images out.",
    )


def _own(lock: Lock) -> dict[Key, dict[str, str]]:
    """(architecture, image) → artifacts of a stand-in that answer its own demands → that stand-in."""
    imitated = {found.id: _source(found) for found in lock.artifacts if found.stand_in}
    found: dict[Key, dict[str, str]] = {}
    for demand in lock.demands:
        for ident in demand.artifacts:
            if ident in imitated:
                found.setdefault((demand.arch, demand.image), {})[ident] = imitated[ident]
    return found
