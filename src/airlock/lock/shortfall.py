"""What of a set cannot be locked, image by image, so that the first refusal does not hide the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import msgspec

from airlock.core.errors import AirlockError, IntegrityError, ResolutionError, UnclassifiedError, UpstreamError

# What is wrong with one image; anything else (a full disk, a missing tool) is wrong with all of them.
_OF_AN_IMAGE = (UnclassifiedError, ResolutionError, UpstreamError, IntegrityError)


class Refused(msgspec.Struct, frozen=True):
    """An image that cannot be locked.

    Attributes:
        reasons: what was said, in order; for a descendant, that its parent cannot be locked.
        parent: the refused parent, where that is the reason.
        remedies: what to do about it, in order; none of a descendant.
    """

    arch: str
    image: str
    reasons: tuple[str, ...]
    parent: str = ""
    remedies: tuple[str, ...] = ()


class Shortfall:
    """Refusals of one architecture.

    Args:
        arch: Kolla's name.
        keep_going: remember them, where otherwise the first one is raised.

    Attributes:
        vendors: upstream of a vendor's repository → why it cannot be had, for the images that enable it.
        keys: (image, specification) of a demand for keys → why these cannot be had.
    """

    def __init__(self, arch: str, *, keep_going: bool = False) -> None:
        self._arch, self.keep_going = arch, keep_going
        self._reasons: dict[str, list[str]] = {}
        self._remedies: dict[str, list[str]] = {}
        self._parents: dict[str, str] = {}
        self.vendors: dict[str, AirlockError] = {}
        self.keys: dict[tuple[str, str], AirlockError] = {}

    @contextlib.contextmanager
    def of(self, image: str) -> Iterator[None]:
        """What is refused within is this image's."""
        try:
            yield
        except _OF_AN_IMAGE as error:
            if not self.keep_going:
                raise
            self.note(image, error)

    @contextlib.contextmanager
    def of_key(self, image: str, spec: str) -> Iterator[None]:
        """Keys that cannot be had are missed by those who use them, not by the image that fetches them for all."""
        try:
            yield
        except _OF_AN_IMAGE as error:
            if not self.keep_going:
                raise
            self.keys[image, spec] = error

    def without_vendors(self, errors: Mapping[str, AirlockError]) -> bool:
        """Whether finding out can go on without these repositories; then they are remembered."""
        if not self.keep_going or not errors or not all(isinstance(one, _OF_AN_IMAGE) for one in errors.values()):
            return False
        self.vendors |= errors
        return True

    def note(self, image: str, error: AirlockError) -> None:
        """An image is refused for this; a repeated reason or remedy is kept once."""
        for kept, word in ((self._reasons, error.message), (self._remedies, error.remedy)):
            words = kept.setdefault(image, [])
            if word and word not in words:
                words.append(word)

    def blocks(self, image: str, parent: str) -> bool:
        """Whether nothing more can be found out about an image: it is refused, or its parent is."""
        if parent in self._reasons and image not in self._reasons:
            self._reasons[image] = [f"its parent {parent} cannot be locked"]
            self._parents[image] = parent
        return image in self._reasons

    @property
    def refused(self) -> list[Refused]:
        """All of them, by name."""
        return [
            Refused(
                self._arch, image, tuple(reasons), self._parents.get(image, ""), tuple(self._remedies.get(image, ()))
            )
            for image, reasons in sorted(self._reasons.items())
        ]
