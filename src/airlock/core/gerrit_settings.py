"""Where a site's Gerrit is: the table ``[gerrit]`` of ``site.toml`` (docs/formats/settings.md)."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import msgspec

from airlock.core.addresses import server_address
from airlock.core.errors import UsageError

_GERRIT = "[gerrit] of a Gerrit: address, user, password_file (docs/formats/settings.md)."
_PROJECT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\Z")


class GerritTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The Gerrit that holds the site's source; none where all of it is empty.

    Attributes:
        address: ``http(s)://host:port``, with the path in front of ``/a/`` if it has one.
        user: who makes projects and pushes.
        password_file: file of that user's HTTP password, relative to site.toml.
        projects: name of a bundle's repository → Gerrit's project; one that is not named has its own name.
    """

    address: str = ""
    user: str = ""
    password_file: str = ""
    projects: dict[str, str] = {}


class GerritPlace(msgspec.Struct, frozen=True):
    """Where a Gerrit is and who goes there; the password is read when it is needed.

    Attributes:
        address: without a slash at the end.
    """

    address: str
    user: str
    password_file: Path
    projects: dict[str, str]

    def project(self, repository: str) -> str:
        """The project of a bundle's repository."""
        return self.projects.get(repository, repository)

    def git(self, project: str) -> str:
        """Address of a project for git, of those who log in."""
        return f"{self.address}/a/{quote(project)}"


def gerrit_place(table: GerritTable, path: Path) -> GerritPlace | None:
    """What a table means; None for one that is empty.

    Args:
        path: of the settings file.

    Raises:
        UsageError: a key is missing, or wrong.
    """
    if table == GerritTable():
        return None
    lacking = [name for name in ("address", "user", "password_file") if not getattr(table, name)]
    if lacking:
        raise UsageError(f"{path}: [gerrit] lacks {' and '.join(lacking)}", remedy=_GERRIT)
    address = server_address(table.address, f"{path}: address in [gerrit]", _GERRIT)
    if ":" in table.user:
        raise UsageError(f"{path}: user in [gerrit] holds a colon, which basic authentication cannot carry")
    for repository, project in table.projects.items():
        if not _PROJECT.match(project) or ".." in project or project.endswith(".git"):
            raise UsageError(f"{path}: {project!r}, for {repository} in [gerrit.projects], cannot name a project")
    password = (path.parent / table.password_file).absolute()
    return GerritPlace(address, table.user, password, dict(table.projects))
