"""Addresses of servers that settings name."""

from __future__ import annotations

from urllib.parse import urlsplit

from airlock.core.errors import UsageError


def server_address(text: str, what: str, remedy: str) -> str:
    """An http(s) address of a server, with a path if it has one; without a slash at its end.

    Args:
        what: names file and key, for the message.

    Raises:
        UsageError: it is none, has a query or a fragment, or holds a user or password.
    """
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise UsageError(f"{what} is no http(s) address", remedy=remedy)
    if "@" in parts.netloc:
        raise UsageError(f"{what} holds a user or password", remedy=remedy)
    return text.rstrip("/")
