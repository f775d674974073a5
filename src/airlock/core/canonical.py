"""Canonical JSON (RFC 8785): the same value is the same bytes everywhere, so it can be hashed and compared."""

from __future__ import annotations

from typing import Any

import msgspec
import rfc8785


def canonical(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value or msgspec struct, without a final newline."""
    return rfc8785.dumps(msgspec.to_builtins(value))


def canonical_line(value: Any) -> bytes:
    """One line of a canonical JSON Lines file."""
    return canonical(value) + b"\n"
