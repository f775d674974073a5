"""Tokens of operators: JSON web tokens (RFC 7519), signed with Zuul's own secret (HS256), valid for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

ISSUER = "zuul_operator"
AUDIENCE = "zuul.example.org"
LIFETIME = 12 * 3600  # seconds; Zuul is told to believe no older one


def make_token(secret: str, user: str, tenants: list[str], lifetime: float = LIFETIME) -> str:
    """A token that lets ``user`` administer tenants.

    Args:
        secret: Zuul's, of its [auth] section.
        user: whom Zuul writes down.
        tenants: which.
        lifetime: seconds; negative for one that has expired.
    """
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": min(now, now + int(lifetime)) - 1}
    claims |= {"exp": now + int(lifetime), "zuul": {"admin": tenants}}
    signed = b".".join(_encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + _encode(signature)).decode("ascii")


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
