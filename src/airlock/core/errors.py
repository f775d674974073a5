"""The errors a person meets: what happened, to which artifact, what to do; one exit code a class.

The codes are a contract (``docs/exit-codes.md``): scripts and Zuul jobs branch on them.
"""

from __future__ import annotations

from typing import ClassVar


class AirlockError(Exception):
    """Base of all errors meant for a person. Never raised itself.

    Args:
        message: what happened, naming the artifact, image and line it happened to.
        remedy: what to do about it; falls back to the class's own.
    """

    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = ""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy or self.default_remedy


class UsageError(AirlockError):
    """The command line or a settings file asks for something that cannot be meant."""

    exit_code = 2
    default_remedy = "Each verb explains its options with --help."


class DefinitionError(AirlockError):
    """The release definition is wrong: unknown key, image, base, architecture …"""

    exit_code = 3
    default_remedy = "Correct the release definition; docs/formats/definition.md explains every field."


class UnclassifiedError(AirlockError):
    """A rendered Dockerfile holds a command that may touch the network and that no resolver claims."""

    exit_code = 4
    default_remedy = "Remove the command by an override, or add a rule for it (docs/verbs/classify.md)."


class ResolutionError(AirlockError):
    """A demand cannot be answered: no such package, a conflict, a file that is nowhere."""

    exit_code = 5


class UpstreamError(AirlockError):
    """An upstream is down, too slow, or keeps breaking off."""

    exit_code = 6
    default_remedy = (
        "Run the same command again: what has arrived is kept. If it stays down, name a mirror in factory.toml."
    )


class IntegrityError(AirlockError):
    """Bytes that were read are not the bytes that were promised."""

    exit_code = 7


class GoneError(UpstreamError):
    """A locked file is no longer at its upstream."""

    exit_code = 8
    default_remedy = "Take what upstream has now: run `airlock lock --update`, review the change, then refresh."


class IncompleteError(AirlockError):
    """The proof of completeness failed: the gaps are in the message."""

    exit_code = 9


class StateError(AirlockError):
    """Something else holds the lock, or the state does not allow this (a bundle id used before …)."""

    exit_code = 10


class ToolError(AirlockError):
    """A program or a right that is needed is missing on this machine."""

    exit_code = 11
    default_remedy = "`airlock doctor` says what this machine lacks and how to get it."


class SpaceError(AirlockError):
    """Not enough room on a disk for what is about to be written."""

    exit_code = 12
    default_remedy = "Make room, or choose another place, and run the same command again."


class FormatError(AirlockError):
    """A file is not in the format it claims, or needs a newer reader."""

    exit_code = 13


class RoomError(AirlockError):
    """The sealed room could not be made, or is not sealed."""

    exit_code = 14


class BuildError(AirlockError):
    """Kolla's build failed; the message names the images and their logs."""

    exit_code = 15


class DifferenceError(AirlockError):
    """Two things that were compared are not the same."""

    exit_code = 16


class ChainError(AirlockError):
    """A ledger's hash chain is broken."""

    exit_code = 17


class WindowError(AirlockError):
    """The firewall window could not be opened, closed before the work was done, or does not hold what it promises."""

    exit_code = 20
    default_remedy = "`airlock window status` says what is open; `airlock window close` closes it, whatever it is."
