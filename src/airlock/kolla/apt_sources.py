"""Debian's one-line sources.list format: what Kolla's files name, and where each line leads in the room."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import FormatError

MIRROR = "http://mirror.airlock.internal"
"""The one constant address that builds see."""


class AptSource(msgspec.Struct, frozen=True):
    """One ``deb`` line.

    Attributes:
        upstream: name of the upstream, from the address's path (``…/debian-security`` → ``debian-security``).
        address: the address as the file names it.
        suite: distribution (``bookworm-updates``).
        components: at least one.
    """

    upstream: str
    address: str
    suite: str
    components: tuple[str, ...]

    @property
    def sealed_line(self) -> str:
        """The same line as builds in the room see it."""
        return f"deb [trusted=yes] {MIRROR}/apt/{self.upstream} {self.suite} {' '.join(self.components)}"


def upstream_name(address: str) -> str:
    """Name of the upstream at an address: its path, or where that is empty its host, as one word."""
    parts = urlsplit(address)
    return re.sub(r"[^a-z0-9]+", "-", (parts.path.strip("/") or parts.hostname or "").lower()).strip("-")


def parse_sources_list(text: str, name: str = "sources.list") -> list[AptSource]:
    """Read the ``deb`` lines (see sources.list(5)); comments and ``deb-src`` are passed over.

    Raises:
        FormatError: a line of another type or form; options in brackets other than ``arch=`` are dropped.
    """
    found: list[AptSource] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"\[[^]]*\]", "", raw.split("#", 1)[0])
        words = line.split()
        if not words or words[0] == "deb-src":
            continue
        if words[0] != "deb" or len(words) < 4:
            raise FormatError(f"{name}, line {number}: not a deb line: {raw.strip()!r}")
        address = words[1].rstrip("/")
        found.append(AptSource(upstream_name(address), address, words[2], tuple(words[3:])))
    return found


def seal_sources_list(text: str, name: str = "sources.list") -> str:
    """The same file for the room: every ``deb`` line leads to the mirror, everything else is dropped."""
    return "".join(source.sealed_line + "\n" for source in parse_sources_list(text, name))
