"""Answers that an earlier lock was solved against and that hold: upstreams are asked what is new, or named.

Whatever is not to be asked anew is answered from the transcript of the lock that there is, so that it does not move.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import msgspec
from packaging.utils import canonicalize_name

from airlock.fetch.transcript import Entry, Transcript
from airlock.store.pool import Pool

_INDEX = re.compile(r"(?:^|/)(?:dists/|by-hash/|(?:In)?Release(?:\.gpg)?\Z|Packages(?:\.\w+)?\Z)")


class Anew(msgspec.Struct, frozen=True):
    """What is to be asked again.

    Attributes:
        upstreams: all of these.
        projects: (upstream, project) of an index: all that has the project in its path, as a page and files have.
        paths: (upstream, path) of single files.
        kept: names of kept things (``Witness.keep``).
    """

    upstreams: frozenset[str] = frozenset()
    projects: frozenset[tuple[str, str]] = frozenset()
    paths: frozenset[tuple[str, str]] = frozenset()
    kept: frozenset[str] = frozenset()

    def asks(self, entry: Entry) -> bool:
        """Whether that answer no longer holds."""
        if not entry.upstream:
            return entry.path in self.kept
        if entry.upstream in self.upstreams or entry.key in self.paths:
            return True
        words = entry.path.partition("?")[0].split("/")
        return any(_names(words, project) for upstream, project in self.projects if upstream == entry.upstream)


def _names(words: list[str], project: str) -> bool:
    """Whether a path's words have a project among them, be it in two as a collection's namespace and name."""
    pieces = project.split(".")
    return any(
        words[start : start + len(pieces)] == pieces or canonicalize_name(words[start]) == project
        for start in range(len(words))
    )


class Frozen:
    """Part of a transcript.

    Args:
        transcript: what the lock was solved against.
        anew: what is asked again all the same.
        keeps: whether a kept thing (by name and bytes) is one that an upstream answered; others are made again.
    """

    def __init__(
        self, transcript: Transcript, pool: Pool, anew: Anew, keeps: Callable[[str, bytes], bool] = lambda *_: False
    ) -> None:
        self._transcript, self._pool, self._anew, self._keeps = transcript, pool, anew, keeps
        self._used: set[str] = set()
        self._fresh: set[str] = set()

    def find(self, upstream: str, path: str) -> Entry | None:
        """The answer that holds, or None where upstream has to be asked."""
        entry = self._transcript.find(upstream, path)
        if entry is not None and (self._anew.asks(entry) or not self._whole(entry)):
            entry = None
        if _INDEX.search(path):
            (self._fresh if entry is None else self._used).add(upstream)
        return entry

    def _whole(self, entry: Entry) -> bool:
        if entry.status != 200:
            return True
        if not self._pool.has(entry.sha256, entry.size):
            return False
        return bool(entry.upstream) or self._keeps(entry.path, self._pool.read(entry.sha256))

    @property
    def mixed(self) -> frozenset[str]:
        """Upstreams whose apt index was answered in part from the lock and in part anew: two states of one index."""
        return frozenset(self._used & self._fresh)

    @property
    def dated(self) -> frozenset[str]:
        """Upstreams of which an apt index is kept: it may have expired since it was checked."""
        found = {entry.upstream for entry in self._transcript.entries() if _INDEX.search(entry.path)}
        return frozenset(found - self._anew.upstreams - {""})

    def asks_anew(self, upstream: str) -> bool:
        """Whether all of that upstream is asked again."""
        return upstream in self._anew.upstreams

    def without(self, upstreams: Collection[str]) -> Frozen:
        """The same, with these upstreams asked again."""
        anew = msgspec.structs.replace(self._anew, upstreams=self._anew.upstreams | frozenset(upstreams))
        return Frozen(self._transcript, self._pool, anew, self._keeps)
