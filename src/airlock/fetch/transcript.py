"""The witness's transcript: what was asked of which upstream, and what it answered, by sha256.

Canonical JSON Lines in one order, without dates or hosts. The bodies lie in the pool. What the lock step derived and
wants to keep beside them has an empty upstream.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from airlock.core.canonical import canonical_line
from airlock.core.digest import is_sha256, sha256_bytes
from airlock.core.errors import FormatError, IntegrityError
from airlock.store.pool import Pool

PLAIN = "application/octet-stream"
EMPTY = sha256_bytes(b"")


class Entry(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        upstream: name of the upstream; empty for what was kept (``Witness.keep``).
        path: below the upstream's address, unquoted; for kept things their name.
        status: 200 or 404.
        sha256, size: of the body, which is empty for 404.
        type: media type of a simple page; ``application/octet-stream`` for everything else.
    """

    upstream: str
    path: str
    status: int
    sha256: str
    size: int
    type: str = PLAIN

    @property
    def key(self) -> tuple[str, str]:
        """Sort key and identity."""
        return (self.upstream, self.path)


def absent(upstream: str, path: str) -> Entry:
    """The answer 404."""
    return Entry(upstream, path, 404, EMPTY, 0)


class Transcript:
    """Answers by upstream and path."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = {entry.key: entry for entry in entries}

    def add(self, entry: Entry) -> None:
        """Put an answer in; a kept thing may be replaced, an upstream's answer is what it was the first time."""
        if entry.upstream:
            self._entries.setdefault(entry.key, entry)
        else:
            self._entries[entry.key] = entry

    def find(self, upstream: str, path: str) -> Entry | None:
        """The answer to that question, or None if it was never asked."""
        return self._entries.get((upstream, path))

    def kept(self, pool: Pool, name: str) -> bytes:
        """What was kept under that name (``Witness.keep``).

        Raises:
            IntegrityError: nothing was, or the pool lost it.
        """
        entry = self.find("", name)
        if entry is None:
            raise IntegrityError(f"the lock's transcript keeps no {name!r}", remedy="Run `airlock lock` again.")
        return pool.read(entry.sha256)

    def entries(self) -> list[Entry]:
        """All answers, sorted."""
        return sorted(self._entries.copy().values(), key=lambda entry: entry.key)

    def to_bytes(self) -> bytes:
        """The canonical file."""
        return b"".join(canonical_line(entry) for entry in self.entries())


def parse_transcript(data: bytes) -> Transcript:
    """Read a transcript.

    Raises:
        FormatError: a line is no entry; it is named.
    """
    decoder = msgspec.json.Decoder(Entry)
    entries = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            entry = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FormatError(f"transcript, line {number}: {error}", remedy="Run `airlock lock` again.") from None
        if not is_sha256(entry.sha256):
            raise FormatError(f"transcript, line {number}: no sha256", remedy="Run `airlock lock` again.")
        entries.append(entry)
    return Transcript(entries)


def read_transcript(pool: Pool, sha256: str) -> Transcript:
    """The transcript of that sha256 (``lock.header.witness``) from the pool.

    Raises:
        IntegrityError: it is not in the pool, or was changed.
        FormatError: it is no transcript.
    """
    return parse_transcript(pool.read(sha256))


def kept(pool: Pool, sha256: str, name: str) -> bytes:
    """What the transcript of that sha256 keeps under that name.

    Raises:
        IntegrityError: the transcript or the thing is not whole in the pool, or nothing was kept.
        FormatError: it is no transcript.
    """
    return read_transcript(pool, sha256).kept(pool, name)
