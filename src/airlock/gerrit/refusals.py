"""What a Gerrit answers or leaves unanswered, in words for a person: what happened, to what, what to do."""

from __future__ import annotations

from airlock.core.errors import AirlockError, StateError, UpstreamError, UsageError
from airlock.core.gerrit_settings import GerritPlace
from airlock.core.http import reason

_SHOWN = 200  # characters of an answer

RIGHTS = (
    "docs/how-to/site.md lists the rights: Create Project; on refs/heads/* and refs/tags/* Create Reference, Push, "
    "Forge Author, Forge Committer, Forge Server; Push Merge on refs/heads/*, Create Annotated Tag and Create Signed "
    "Tag on refs/tags/*."
)


def away(place: GerritPlace, what: str, error: BaseException) -> UpstreamError:
    """Nobody answers, or not to the end."""
    return UpstreamError(
        f"Gerrit at {place.address} cannot be reached ({reason(error)}): {what}",
        remedy="See that Gerrit runs there, and that [gerrit] address in site.toml is right; then run the same again.",
    )


def no_gerrit(place: GerritPlace, what: str, how: str) -> UsageError:
    """Something else answers."""
    return UsageError(
        f"{place.address} does not answer as Gerrit does ({how}): {what}",
        remedy="[gerrit] address in site.toml is that of Gerrit itself, with the path in front of /a/ if it has one.",
    )


def refused(place: GerritPlace, what: str, status: int, text: str) -> AirlockError:
    """An answer that is neither what was asked for nor, where that may be, `there is none`.

    Args:
        what: was done, to which project.
        text: of the answer.
    """
    said = f": {words(text)}" if words(text) else ""
    if status == 401:
        return wrong_password(place, what)
    if status == 403:
        return UsageError(
            f"Gerrit at {place.address} does not let user {place.user} do this (403{said}): {what}", remedy=RIGHTS
        )
    if status == 404:
        return StateError(
            f"Gerrit at {place.address} has nothing there that user {place.user} may see (404{said}): {what}",
            remedy="`airlock import` of the bundle seeds Gerrit. Is it there, and may that user read it?",
        )
    if status == 409:
        return StateError(
            f"Gerrit at {place.address} refuses (409{said}): {what}",
            remedy=f"May user {place.user} read a project that is there already? See [gerrit.projects] in site.toml.",
        )
    if 300 <= status < 400:
        return no_gerrit(place, what, f"{status}, it sends elsewhere")
    return UpstreamError(
        f"Gerrit at {place.address} answers {status}{said}: {what}",
        remedy="See its error_log; then run the same again.",
    )


def wrong_password(place: GerritPlace, what: str) -> UsageError:
    """It does not know this user by this password."""
    return UsageError(
        f"Gerrit at {place.address} does not take the password of user {place.user} (401): {what}",
        remedy=f"Generate an HTTP password for that user in Gerrit and write it into {place.password_file}.",
    )


def words(text: str) -> str:
    """The first line of an answer, if a person can read it; cut, since it is not ours."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return "" if line.startswith("<") else "".join(char for char in line if char.isprintable())[:_SHOWN]
