"""What people and other systems say when they ask for a build: why, who, through what. Bounded before it is kept."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from airlock.core.errors import UsageError

MAX_REASON = 1000  # characters
MAX_NAME = 200
MAX_VALUE = 500
MAX_DETAILS = 32

_KEY = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_REPOSITORY = re.compile(r"[a-z][a-z0-9_.-]{0,63}")  # as a definition names them
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_UNSAFE = ("Cc", "Cs")  # control characters and halves of surrogate pairs (Unicode's general categories)


def _printable(text: str, what: str, limit: int, *, lines: bool = False) -> str:
    for character in text:
        if unicodedata.category(character) in _UNSAFE and not (lines and character == "\n"):
            raise UsageError(
                f"{what} has a control character (U+{ord(character):04X})", remedy="Write it as plain text."
            )
    if len(text) > limit:
        raise UsageError(f"{what} has {len(text)} characters; {limit} are kept", remedy="Say it shorter.")
    return text


def checked_reason(text: str) -> str:
    """A reason: text that may have several lines.

    Raises:
        UsageError: longer than ``MAX_REASON``, or a control character other than the end of a line.
    """
    return _printable(text, "the reason", MAX_REASON, lines=True)


def required_reason(text: str) -> str:
    """A reason that must say something; see ``checked_reason``.

    Raises:
        UsageError: also for one that is empty.
    """
    if not text.strip():
        raise UsageError(
            "a reason is required", remedy='Say why: --reason "…". It stands in the record and the ledger.'
        )
    return checked_reason(text)


def checked_name(text: str, what: str) -> str:
    """Who or what asks: one line, not empty.

    Raises:
        UsageError: it is empty, too long, or has control characters.
    """
    if not text.strip():
        raise UsageError(f"{what} is empty")
    return _printable(text, what, MAX_NAME)


def parse_details(words: Iterable[str]) -> dict[str, str]:
    """``KEY=VALUE`` words of the command line.

    Raises:
        UsageError: no ``=``, a key that is none or stands twice, a value or number of them beyond the bounds.
    """
    details: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not _KEY.fullmatch(key):
            raise UsageError(
                f"--detail {word[:80]!r} is not KEY=VALUE",
                remedy="A key is of small letters, digits, _ and -, 32 at most.",
            )
        if key in details:
            raise UsageError(f"--detail names {key} twice")
        details[key] = _printable(value, f"the detail {key}", MAX_VALUE)
    if len(details) > MAX_DETAILS:
        raise UsageError(f"{len(details)} details; {MAX_DETAILS} are kept")
    return details


def parse_commits(words: Iterable[str]) -> dict[str, str]:
    """``REPOSITORY=COMMIT`` words of the command line.

    Raises:
        UsageError: not of that form, not a whole commit, or one repository twice.
    """
    commits: dict[str, str] = {}
    for word in words:
        name, equals, commit = word.partition("=")
        if not equals or not _REPOSITORY.fullmatch(name) or not _COMMIT.fullmatch(commit):
            raise UsageError(
                f"--git {word[:120]!r} is not REPOSITORY=COMMIT", remedy="The whole commit: 40 (or 64) digits."
            )
        if name in commits:
            raise UsageError(f"--git names {name} twice")
        commits[name] = commit
    return commits
