"""Where a Nexus is: the table ``[artifacts]`` of ``factory.toml`` and ``site.toml`` (docs/formats/settings.md)."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from airlock.core.addresses import server_address
from airlock.core.errors import UsageError

_NEXUS = "[artifacts] of a Nexus: nexus, repository, user, password_file (docs/formats/settings.md)."
_REPOSITORY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\Z")  # Nexus's own rule


class NexusTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A raw hosted repository of a Nexus.

    Attributes:
        nexus: ``http(s)://host:port`` of the server, with its context path if it has one.
        repository: the repository's name.
        user: who reads and writes there.
        password_file: file of that user's password, relative to the settings file.
    """

    nexus: str = ""
    repository: str = ""
    user: str = ""
    password_file: str = ""


class NexusPlace(msgspec.Struct, frozen=True):
    """Where a Nexus repository is and who goes there; the password is read when it is needed.

    Attributes:
        address: of the server, without a slash at the end.
        settings: the file that says so, for messages.
    """

    address: str
    repository: str
    user: str
    password_file: Path
    settings: Path


def check_nexus(table: NexusTable, path: Path) -> None:
    """See that a table can be meant.

    Args:
        path: of the settings file, for messages.

    Raises:
        UsageError: a key is missing, or wrong.
    """
    lacking = [name for name in ("nexus", "repository", "user", "password_file") if not getattr(table, name)]
    if lacking:
        raise UsageError(f"{path}: [artifacts] lacks {' and '.join(lacking)}", remedy=_NEXUS)
    server_address(table.nexus, f"{path}: nexus in [artifacts]", _NEXUS)
    if not _REPOSITORY.match(table.repository):
        raise UsageError(f"{path}: {table.repository!r} in [artifacts] cannot be the name of a repository")
    if ":" in table.user:
        raise UsageError(f"{path}: user in [artifacts] holds a colon, which no user of a Nexus has")


def nexus_place(table: NexusTable, settings: Path) -> NexusPlace:
    """What a table of the file ``settings`` means."""
    password = (settings.parent / table.password_file).absolute()
    return NexusPlace(table.nexus.rstrip("/"), table.repository, table.user, password, settings)
