"""What a Nexus answers or leaves unanswered, in words for a person: what happened, to what, where, what to do."""

from __future__ import annotations

import os

import aiohttp

from airlock.core.errors import AirlockError, IntegrityError, SpaceError, UpstreamError, UsageError
from airlock.core.nexus_settings import NexusPlace

_AGAIN = "the same command again goes on: what is whole in Nexus is not sent twice."


class RefusedError(Exception):
    """An answer that is neither what was asked for nor `there is none`.

    Attributes:
        status: of HTTP; 0 for an answer that broke off, time and again.
    """

    def __init__(self, status: int, reason: str | None) -> None:
        said = f"it answers {status} {reason or ''}".rstrip() if status else "its answer breaks off"
        super().__init__(said)
        self.status = status


def said(error: BaseException) -> str:
    """An error of the network in words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not trusted here: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"no connection: {os.strerror(number).lower() if number and number > 0 else error.os_error}"
    if isinstance(error, TimeoutError):
        return "nothing moved for too long"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer broke off"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was cut"
    return str(error) or type(error).__name__


def settled(place: NexusPlace, what: str, refused: RefusedError) -> AirlockError | None:
    """The error for an answer that trying again cannot change; None for others.

    Args:
        what: what was done, to which file: ``put pool/…``.
    """
    where = f"the repository {place.repository} of {place.address}"
    if refused.status == 401:
        return UsageError(
            f"{place.address} does not take the password of user {place.user} (401): {what}",
            remedy=f"Correct user and password_file of [artifacts] in {place.settings}. {_capital(_AGAIN)}",
        )
    if refused.status == 403:
        view = f"nx-repository-view-raw-{place.repository}"
        return UsageError(
            f"user {place.user} lacks a privilege for this in {where} (403): {what}",
            remedy=f"Give a role of that user {view}-edit, {view}-read and {view}-browse. {_capital(_AGAIN)}",
        )
    if refused.status == 405:
        return UsageError(
            f"{where} takes no files, as a proxy or a group does (405): {what}",
            remedy=f"Name a raw hosted repository under [artifacts] in {place.settings}.",
        )
    if 300 <= refused.status < 400:
        return UsageError(
            f"{place.address} sends elsewhere ({refused}): {what}",
            remedy=f"Write the address where Nexus itself answers into [artifacts] of {place.settings}.",
        )
    return None


def unknown(place: NexusPlace, what: str) -> UsageError:
    """The repository is not there."""
    return UsageError(
        f"{place.address} has no repository {place.repository} (404): {what}",
        remedy=f"Make a raw hosted repository of that name, or correct [artifacts] in {place.settings}.",
    )


def not_hosted(place: NexusPlace, kind: str) -> UsageError:
    """The repository is of another kind."""
    return UsageError(
        f"the repository {place.repository} of {place.address} is {kind}, not raw hosted",
        remedy=f"Name a raw hosted repository under [artifacts] in {place.settings}.",
    )


def no_nexus(place: NexusPlace, what: str, error: Exception) -> UsageError:
    """Something else answers."""
    return UsageError(
        f"{place.address} does not answer as a Nexus does ({error}): {what}",
        remedy=f"Correct the address under [artifacts] in {place.settings}.",
    )


def away(place: NexusPlace, what: str, error: BaseException, seconds: float = 0.0) -> UpstreamError:
    """It does not answer, or answers that it cannot now."""
    tried = f", tried for {seconds:.0f} s" if seconds >= 1 else ""
    return UpstreamError(
        f"Nexus at {place.address} does not do its work ({said(error)}{tried}): {what}",
        remedy=f"Start it, and look into its nexus.log; then {_AGAIN}",
    )


def unreadable(place: NexusPlace, path: str, refused: RefusedError) -> IntegrityError:
    """It has a file on its books, and cannot give back its bytes."""
    return IntegrityError(
        f"Nexus at {place.address} has {path} of the repository {place.repository} on its books and cannot give back "
        f"its bytes ({refused})",
        remedy=f"Check the disk of its blob store. Delete {path} in Nexus and import the bundle again.",
    )


def closed(place: NexusPlace, what: str, refused: RefusedError) -> UpstreamError:
    """It runs, and refuses with 503: frozen, or the repository is offline."""
    return UpstreamError(
        f"Nexus at {place.address} is frozen (read-only), or its repository {place.repository} is offline ({refused}): "
        f"{what}",
        remedy=f"Release it in Nexus, or put the repository online; then {_AGAIN}",
    )


def failed(place: NexusPlace, what: str, refused: RefusedError, free: int | None, size: int) -> AirlockError:
    """It could not store a file, which it tells by 500 without a word; most often its disk is full."""
    text = f"Nexus at {place.address} could not store it ({refused}): {what}, {size / 1e6:,.1f} MB"
    if free is not None and free < size + (16 << 20):
        return SpaceError(
            f"{text}; its blob store has {free / 1e6:,.1f} MB free",
            remedy=f"Make room on the disk of that blob store; then {_AGAIN}",
        )
    return UpstreamError(
        text, remedy=f"The usual cause is a full disk: its nexus.log tells. Make room there; then {_AGAIN}"
    )


def refused_upload(place: NexusPlace, what: str, refused: RefusedError) -> UsageError:
    """It does not want the file, which is not there either."""
    return UsageError(
        f"the repository {place.repository} of {place.address} refuses a file ({refused}): {what}",
        remedy="Switch off the strict content type validation of that repository, and let its deployment policy allow "
        "a first deployment.",
    )


def other_bytes(place: NexusPlace, path: str) -> IntegrityError:
    """The repository has a file of that name with other bytes, and lets nobody replace it."""
    return IntegrityError(
        f"{place.address} has other bytes than it should at {path} of the repository {place.repository}, and user "
        f"{place.user} may not replace them",
        remedy=f"Find out who put them there. Then delete {path} in Nexus, or give the user the privilege "
        f"nx-repository-view-raw-{place.repository}-delete for once; the same command again mends it.",
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
