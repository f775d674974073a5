"""What a token says of itself. Whether it is genuine, Zuul alone can tell."""

from __future__ import annotations

import base64
import binascii
import time

import msgspec

from airlock.core.errors import UsageError


class Claims(msgspec.Struct, frozen=True):
    """The claims of a JSON web token (RFC 7519) that are looked at.

    Attributes:
        sub: whose it is; what Zuul keeps as the buildset's user.
        exp: seconds since the epoch, until when it is valid; None for one that has no end.
    """

    sub: str
    exp: float | None = None


def claims(token: str, where: str) -> Claims:
    """Read a token without its key.

    Args:
        where: the file it came from, for messages; they never hold the token.

    Raises:
        UsageError: it is none, names nobody, or is expired.
    """
    parts = token.split(".")
    try:
        if len(parts) != 3:
            raise ValueError
        found = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), type=Claims)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise UsageError(
            f"{where} holds no JSON web token that says whose it is", remedy="Ask Zuul's administrator for one."
        ) from None
    if found.exp is not None and found.exp <= time.time():
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(found.exp, 2**37)))
        raise UsageError(f"the token in {where} expired at {ended}", remedy="Ask Zuul's administrator for a new one.")
    return found
