"""What backends have in common: one small protocol, the order that the keeper gets, the way in for a process."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from airlock.core.settings import WindowTable
from airlock.evidence.window import WindowRecord
from airlock.firewall.selection import Selection


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One window, as it is asked for.

    Attributes:
        root: the factory's folder.
        record: what the record says before the window opens.
        attached: the window closes when whoever ordered it dies.
        local: ports on loopback that are upstreams.
    """

    root: str
    record: WindowRecord
    settings: WindowTable
    selection: Selection
    table: str
    attached: bool
    local: frozenset[int] = frozenset()

    @property
    def folder(self) -> Path:
        """Where the keeper's own files lie."""
        return Path(self.root) / "state" / "window"

    @property
    def places(self) -> list[tuple[str, int]]:
        """(name, port) of each host."""
        return [(host.name, host.port) for host in self.record.hosts]


class Entrance(msgspec.Struct, frozen=True, kw_only=True):
    """How a process gets to where its traffic is confined, and through the window.

    Attributes:
        cgroup: control group to join; namespace: network namespace to enter. Empty where there is none.
        environment: variables to set.
        resolver: whether names are the window's resolver's business: the files that say otherwise are hidden.
    """

    cgroup: str = ""
    namespace: str = ""
    environment: dict[str, str] = {}
    resolver: bool = False


class Backend(Protocol):
    """What opens and closes. Everything is idempotent but ``open``; everything may block for seconds."""

    async def open(self, seconds: float) -> Entrance:
        """Open for at most that long, by a clock that is not ours to keep.

        Raises:
            WindowError: it cannot be opened; nothing is left open.
        """

    async def tend(self) -> None:
        """Called about once a second while it is open.

        Raises:
            WindowError: it is not open any more.
        """

    def begin(self) -> None:
        """Forget what was refused until now: it was a proof's own."""

    async def close(self) -> None:
        """Close at once; what was counted is gone afterwards.

        Raises:
            WindowError: it cannot be closed.
        """

    def is_open(self) -> bool:
        """Whether anything is open, as the kernel, the proxy or the firewall itself says."""

    def tell(self, record: WindowRecord) -> None:
        """Write into the record what is known by now: addresses, contacts, what was refused."""
