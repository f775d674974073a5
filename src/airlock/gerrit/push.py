"""Refs into a Gerrit by git push. Only such as are not there: nothing is moved, nothing is forced."""

from __future__ import annotations

from collections.abc import Mapping

from airlock.core.errors import AirlockError, UpstreamError, UsageError
from airlock.core.gerrit_settings import GerritPlace
from airlock.core.git import Git, GitServer
from airlock.core.secrets import read_secret
from airlock.gerrit.refusals import RIGHTS, words, wrong_password

AT_A_TIME = 500
"""Refs in one push, so that their names fit on a command line."""


def push(place: GerritPlace, project: str, git: Git, refs: Mapping[str, str], *, validate: bool = True) -> None:
    """Make refs in a project.

    Args:
        git: the repository that has what they point at.
        refs: full name → id of the commit or tag.
        validate: have Gerrit look at each commit. It takes a long history only without, and tags only with.

    Raises:
        UsageError: the password is wrong or a right is missing; the message has Gerrit's own words.
        UpstreamError: Gerrit cannot be reached, or breaks off. Refs may be there all the same.
    """
    server = GitServer(place.git(project), place.user, read_secret(place.password_file), direct=True)
    options = () if validate else ("--push-option=skip-validation",)
    entries = list(refs.items())
    for start in range(0, len(entries), AT_A_TIME):
        some = entries[start : start + AT_A_TIME]
        absent = (f"--force-with-lease={ref}:" for ref, _ in some)  # Gerrit makes them, or refuses
        specs = (f"{ident}:{ref}" for ref, ident in some)
        said = git.ask("push", "--porcelain", *options, *absent, "--", server.url, *specs, server=server)
        if not said.ok:
            raise _refused(place, project, said.text, said.words)


def _refused(place: GerritPlace, project: str, text: str, said: str) -> AirlockError:
    if "Authentication failed" in said:
        return wrong_password(place, f"push to {project}")
    rejected = [line.split("\t") for line in text.splitlines() if line.startswith("!\t")]
    if rejected:
        named = [f"{fields[1].rpartition(':')[2]} {words(fields[2])}" for fields in rejected[:5] if len(fields) > 2]
        more = f" and {len(rejected) - 5} more" if len(rejected) > 5 else ""
        return UsageError(
            f"Gerrit at {place.address} does not take what user {place.user} pushes to {project}: "
            f"{'; '.join(named)}{more}",
            remedy=RIGHTS,
        )
    return UpstreamError(
        f"Gerrit at {place.address} did not take what was pushed to {project}: {said}",
        remedy="See that Gerrit runs, and its error_log.",
    )
