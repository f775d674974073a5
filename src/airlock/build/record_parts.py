"""From what the room saw to what the build record says: the room's words become the record's."""

from __future__ import annotations

from collections.abc import Mapping

from airlock.evidence.record import Network, Refused, Served
from airlock.room.report import NameQuery, RoomReport


def network_part(report: RoomReport) -> Network:
    """The record's ``network``."""
    canary = report.canary
    return Network(
        room=report.kind,
        cannot_prove=list(report.cannot_prove),
        refused_packets=report.refused_packets,
        refused=[
            Refused(
                family=entry.family,
                address=entry.daddr,
                protocol=entry.protocol,
                port=entry.port or 0,
                packets=entry.packets,
            )
            for entry in report.refused
        ],
        refused_names=sorted({_name(query) for query in report.refused_names}),
        expected_names=sorted({_name(query) for query in report.noise_names}),
        refused_sockets=sorted(
            {f"{entry.family} {entry.type} by {entry.program} ({entry.image})" for entry in report.refused_sockets}
        ),
        missing=sorted({f"{entry.status} {entry.host or ''}{entry.path} ({entry.image})" for entry in report.missing}),
        canary_packets=canary.packets_counted if canary else 0,
        canary=[
            {"what": attempt.what, "where": attempt.where, "how": attempt.how, "seen": attempt.seen}
            for attempt in (canary.attempts if canary else ())
        ],
    )


def _name(query: NameQuery) -> str:
    return f"{query.name} {query.type}"


def served_part(report: RoomReport, origins: Mapping[str, str], sizes: Mapping[str, int]) -> list[Served]:
    """The record's ``served``: one entry a path, with the images that took it."""
    found: dict[str, tuple[str, set[str], int]] = {}
    for entry in report.served:
        if entry.method != "GET":
            continue
        sha256, images, count = found.get(entry.path, (entry.sha256 or "", set(), 0))
        found[entry.path] = (sha256, images | ({entry.image} if entry.image else set()), count + 1)
    return [
        Served(
            path=path,
            sha256=sha256,
            size=sizes.get(path, 0),
            origin=origins.get(path, ""),
            images=sorted(images),
            count=count,
        )
        for path, (sha256, images, count) in sorted(found.items())
    ]
