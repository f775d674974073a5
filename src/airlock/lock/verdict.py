"""What a proof says of each image, and what no static proof can say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from airlock.lock.model import Lock
from airlock.lock.proof import Gap
from airlock.lock.stand_ins import Proven
from airlock.lock.survey import ImageFacts, Key, Shared, Totals, ancestry, parents_of, survey

State = Literal["gaps", "below", "unproved", "stand-in", "proved"]
STATES: dict[State, str] = {
    "gaps": "something of its own is missing or wrong",
    "below": "an ancestor of it has gaps",
    "unproved": "no gap of its own, but one that concerns every image",
    "stand-in": "complete, against a stand-in of an upstream that is out of reach",
    "proved": "complete, on real inputs",
}
WORDS: dict[State, str] = {
    "gaps": "gaps",
    "below": "ancestor has gaps",
    "unproved": "unproved",
    "stand-in": "stand-in",
    "proved": "proved",
}
PROVED = (
    "Kolla, rendered and read now, asks for exactly the images and the demands that the lock has.",
    "Every command that may touch the network is classified and answered.",
    "Every file is in the pool, and its bytes have the sha256 that the lock names.",
    "apt, solving every image again from the bundle's own index, comes to the locked packages.",
    "What each wheel and sdist requires for the image's Python is locked, in a version that it takes.",
    "Every wheel and sdist is what its name promises, and for the image's Python and machine.",
    "Every sdist that is installed or built with has what its own pyproject.toml names for building it in isolation.",
)
NOT_PROVED = (
    "Maintainer scripts of packages: what they do when they run cannot be read statically.",
    "Requirements that an older sdist states only when it is built: `airlock lock --check` has uv find them again.",
    "Build backends of sdists and what a compiler looks for: seen when they run, not before.",
    "Programs that an image starts later: only their installation is part of a build.",
    "The sealed room decides: a build there has no way out, and whatever it tried besides is in its record.",
)
_IMAGE = re.compile(r"image (\S+) \(([\w-]+)\)")
_STATIC_ALONE = "static requirements alone"


class ImageState(msgspec.Struct, frozen=True):
    """One image and how it stands; ``gaps`` are its own."""

    facts: ImageFacts
    state: State
    gaps: int
    stand_ins: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """A proof, image by image.

    Attributes:
        images: by architecture and name.
        kinds: all artifacts by kind.
        shared: what several images ask for and a bundle carries once.
        unseen: sdists whose build hook does not run at the factory: what they need is known from static metadata alone.
        proved, not_proved: what was compared, and what cannot be seen this way; for people.
    """

    images: tuple[ImageState, ...]
    kinds: dict[str, Totals]
    shared: Shared
    unseen: tuple[str, ...]
    proved: tuple[str, ...]
    not_proved: tuple[str, ...]

    def count(self, state: State) -> int:
        """How many images are in that state."""
        return sum(image.state == state for image in self.images)


def judge(lock: Lock, gaps: Iterable[Gap], proven: Proven) -> Verdict:
    """Say of each image what the gaps mean for it."""
    facts, parents = survey(lock), parents_of(lock)
    own: dict[Key, int] = {}
    general = 0
    for gap in gaps:
        keys = _concerned(lock, gap) & parents.keys()
        general += not keys
        for key in keys:
            own[key] = own.get(key, 0) + 1
    images = []
    for image in facts.images:
        against = proven.against.get(image.arch, {}).get(image.name, ())
        line = list(ancestry(parents, image.key))
        state: State = "stand-in" if against else "proved"
        if image.key in own:
            state = "gaps"
        elif any(one in own for one in line[1:]):
            state = "below"
        elif general:
            state = "unproved"
        images.append(ImageState(image, state, own.get(image.key, 0), against))
    unseen = sorted({demand.spec for demand in lock.demands if _STATIC_ALONE in demand.note})
    proved = () if own or general else PROVED
    return Verdict(tuple(images), facts.kinds, facts.shared, tuple(unseen), proved, NOT_PROVED)


def _concerned(lock: Lock, gap: Gap) -> set[Key]:
    """Images that a gap keeps from being built; none where it is about all of them."""
    if gap.artifact:
        return {
            (demand.arch, demand.image) for demand in lock.demands if demand.image and gap.artifact in demand.artifacts
        }
    found = _IMAGE.match(gap.where)
    return {(found[2], found[1])} if found else set()
