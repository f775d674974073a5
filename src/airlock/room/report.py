"""What a sealed room saw: the shapes that go into the build record, and the few bounds on how much is kept.

Times are seconds since the epoch (UTC), as floats. Everything is plain data: ``msgspec.to_builtins`` gives JSON.
"""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

MAX_RECORDS = 200_000  # entries of one kind; a build that asks in an endless loop must not fill our memory

CANNOT_PROVE = (
    "That kernel, container engine and OCI runtime are free of faults that let a process leave its namespaces.",
    "What happens outside the room: the gateway's own side reads the site's stores over the host's network.",
    "Covert channels that need no network, such as timing or load that another process on the same machine observes.",
)


class RefusedPackets(msgspec.Struct, frozen=True, kw_only=True):
    """Packets for one destination that netfilter refused. ``port`` is None for protocols without ports."""

    family: Literal["ipv4", "ipv6"]
    daddr: str
    protocol: str
    port: int | None
    packets: int


class PacketCount(msgspec.Struct, frozen=True, kw_only=True):
    """All refused packets up to a moment, or between two.

    ``packets`` comes from one counter that every refused packet passes; ``refused`` names the destinations. Should the
    names add up to less (malformed packets, a full set), the counter is the one to believe.
    """

    packets: int = 0
    refused: tuple[RefusedPackets, ...] = ()

    def since(self, earlier: PacketCount) -> PacketCount:
        """What was refused after ``earlier``."""
        before = {(r.daddr, r.protocol, r.port): r.packets for r in earlier.refused}
        rest = []
        for entry in self.refused:
            packets = entry.packets - before.get((entry.daddr, entry.protocol, entry.port), 0)
            if packets:
                rest.append(msgspec.structs.replace(entry, packets=packets))
        return PacketCount(packets=self.packets - earlier.packets, refused=tuple(rest))


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the gateway, whatever became of it. ``bytes`` counts the body that was sent."""

    time: float
    method: str
    path: str
    status: int
    bytes: int
    sha256: str | None
    image: str
    host: str = ""


class NameQuery(msgspec.Struct, frozen=True, kw_only=True):
    """One DNS question, with how often it was asked for one image.

    ``kind``: ``mirror`` answered; ``noise`` expected and refused (SRV of the mirror, a container's own host name,
    reverse of loopback); ``refused`` anything else: the build wanted to go somewhere.
    """

    name: str
    type: str
    kind: Literal["mirror", "noise", "refused"]
    image: str
    count: int = 1


class RefusedSocket(msgspec.Struct, frozen=True, kw_only=True):
    """A system call that asked for a socket the network namespace does not confine, and was refused by seccomp.

    ``call`` is ``socket``, ``socketpair`` or ``io_uring_setup``; ``family``, ``type``, ``protocol`` are symbolic where
    known. ``program`` is the start of the asking process's command line.
    """

    call: str
    family: str
    type: str
    protocol: int
    program: str
    image: str
    count: int = 1


class ContainerStart(msgspec.Struct, frozen=True, kw_only=True):
    """One container that the OCI runtime was asked to create in the room."""

    time: float
    id: str
    hostname: str = ""
    args: tuple[str, ...] = ()
    image: str = ""


class CanaryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One way out that the canary tried: ``where``, ``how`` it was refused (errno), what recorded it (``seen``)."""

    what: str
    where: Literal["build container", "process"]
    refused: bool
    how: str
    seen: Literal["nft", "dns", "seccomp", "kernel", ""]


class CanaryResult(msgspec.Struct, frozen=True, kw_only=True):
    """All that the canary tried and the packets of its own that the counters show."""

    attempts: tuple[CanaryAttempt, ...] = ()
    packets_counted: int = 0


class RoomReport(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into the build record. Packets, names and sockets are the build's own: the canary's are apart."""

    kind: str = "network-namespace"
    cannot_prove: tuple[str, ...] = CANNOT_PROVE
    canary: CanaryResult | None = None
    refused_packets: int = 0
    refused: tuple[RefusedPackets, ...] = ()
    refused_names: tuple[NameQuery, ...] = ()
    noise_names: tuple[NameQuery, ...] = ()
    refused_sockets: tuple[RefusedSocket, ...] = ()
    served: tuple[Served, ...] = ()
    missing: tuple[Served, ...] = ()
    containers: tuple[ContainerStart, ...] = ()
    records_dropped: int = 0


T = TypeVar("T", bound=msgspec.Struct)


class Log(Generic[T]):
    """A list that stops growing at ``MAX_RECORDS`` and counts what it had to leave out."""

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        self.entries: list[T] = []
        self.dropped = 0
        self._limit = limit

    def add(self, entry: T) -> None:
        if len(self.entries) < self._limit:
            self.entries.append(entry)
        else:
            self.dropped += 1


class Tally(Generic[T]):
    """Entries that are equal but for ``count`` are kept once, with the number of times they came."""

    def __init__(self, limit: int = MAX_RECORDS) -> None:
        self._counts: dict[T, int] = {}
        self.dropped = 0
        self._limit = limit

    def add(self, entry: T) -> None:
        if entry in self._counts or len(self._counts) < self._limit:
            self._counts[entry] = self._counts.get(entry, 0) + 1
        else:
            self.dropped += 1

    @property
    def entries(self) -> list[T]:
        """What came, in order of first appearance, with counts."""
        return [msgspec.structs.replace(entry, count=count) for entry, count in self._counts.items()]
