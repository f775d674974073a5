"""What is to be fetched, and how it went."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from airlock.core.errors import AirlockError, GoneError, IntegrityError, UpstreamError

SHOWN = 20  # failures named in one message


class Job(msgspec.Struct, frozen=True):
    """One file to fetch.

    Attributes:
        artifact: its id in the lock, for messages.
        name: the package or project it belongs to.
        url: where it is.
        sha256, size: what it must be.
    """

    artifact: str
    name: str
    url: str
    sha256: str
    size: int


class Failure(msgspec.Struct, frozen=True):
    """A job and why it failed."""

    job: Job
    error: AirlockError


class Result(msgspec.Struct, frozen=True):
    """What ``download`` did.

    Attributes:
        fetched: files that arrived.
        present: files that were in the pool already.
        bytes: taken from the network, what was thrown away included.
        seconds: of wall clock.
    """

    fetched: int
    present: int
    bytes: int
    seconds: float
    failures: tuple[Failure, ...] = ()

    def check(self) -> None:
        """Raise all failures as one error.

        Raises:
            IntegrityError: wrong bytes were among them.
            GoneError: none was of that kind, but files are gone from upstream.
            UpstreamError: everything else.
        """
        raise_failures([failure.error for failure in self.failures])


def raise_failures(errors: Sequence[AirlockError]) -> None:
    """Raise errors as one: of the gravest class, each named once; nothing when there are none."""
    if not errors:
        return
    if len(errors) == 1:
        raise errors[0]
    gravest = min(errors, key=_gravity)
    # The gravest first: they give the exit code, and must be among those that are shown.
    messages = list(dict.fromkeys(one.message for one in sorted(errors, key=lambda one: (_gravity(one), one.message))))
    more = [f"… and {len(messages) - SHOWN} more"] if len(messages) > SHOWN else []
    remedies = list(dict.fromkeys(error.remedy for error in sorted(errors, key=_gravity)))
    text = "\n  ".join([f"{len(errors)} files could not be fetched; all others were:", *messages[:SHOWN], *more])
    raise type(gravest)(text, remedy="\n    ".join(remedies[:SHOWN]))


def _gravity(error: AirlockError) -> int:
    kinds = (IntegrityError, GoneError, UpstreamError)
    return next((place for place, kind in enumerate(kinds) if isinstance(error, kind)), len(kinds))
