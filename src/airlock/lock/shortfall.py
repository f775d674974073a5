"""What of a set cannot be locked, image by image, so that the first refusal does not hide the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from airlock.core.errors import AirlockError, IntegrityError, ResolutionError, UnclassifiedError, UpstreamError

# What is wrong with one image; anything else (a full disk, a missing tool) is wrong with all of them.
_OF_AN_IMAGE = (UnclassifiedError, ResolutionError, UpstreamError, IntegrityError)


class Refused(msgspec.Struct, frozen=True):
    """An image that cannot be locked.

    Attributes:
        reasons: what was said, in order; for a descendant, that its parent cannot be locked.
        parent: the refused parent, where that is the reason.
    """

    arch: str
    image: str
    reasons: tuple[str, ...]
    parent: str = ""


class Shortfall:
    """Refusals of one architecture.

    Args:
        arch: Kolla's name.
        keep_going: remember them, where otherwise the first one is raised.
    """

    def __init__(self, arch: str, *, keep_going: bool = False) -> None:
        self._arch, self._keep_going = arch, keep_going
        self._reasons: dict[str, list[str]] = {}
        self._parents: dict[str, str] = {}

    @contextlib.contextmanager
    def of(self, image: str) -> Iterator[None]:
        """What is refused within is this image's."""
        try:
            yield
        except _OF_AN_IMAGE as error:
            if not self._keep_going:
                raise
            self.note(image, error)

    def note(self, image: str, error: AirlockError) -> None:
        """An image is refused for this; a repeated reason is kept once."""
        reasons = self._reasons.setdefault(image, [])
        if error.message not in reasons:
            reasons.append(error.message)

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
            Refused(self._arch, image, tuple(reasons), self._parents.get(image, ""))
            for image, reasons in sorted(self._reasons.items())
        ]
