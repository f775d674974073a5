"""What an image asked for in vain while it was rehearsed: demands that the static proof overlooked, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from airlock.room.report import PacketCount, RoomReport

MAX_ASKED = 20

# Indexes of a bundle are unsigned: apt asks for these first and goes on with Release, which is told if it is missing.
_EXPECTED = re.compile(r"/apt/[^/]+/dists/.+/(InRelease|Release\.gpg)")


def asked_in_vain(image: str, report: RoomReport, packets: PacketCount) -> tuple[str, ...]:
    """Sentences, one a thing asked for, without repetition.

    Args:
        report: of the room; of what it saw, only what bears the image's name is looked at.
        packets: refused while the image was built.
    """
    found = list(dict.fromkeys(_sentences(image, report, packets)))
    more = [f"and {len(found) - MAX_ASKED} more"] if len(found) > MAX_ASKED else []
    return (*found[:MAX_ASKED], *more)


def _sentences(image: str, report: RoomReport, packets: PacketCount) -> Iterator[str]:
    for request in report.missing:
        if request.image != image or _EXPECTED.fullmatch(request.path):
            continue
        if request.status == 404:
            yield f"image {image} asked for {request.path}, which the lock does not hold"
        elif request.status == 421:
            yield f"image {image} asked {request.host} for {request.path}, which is not the mirror"
    for query in report.refused_names:
        if query.image == image:
            yield f"image {image} looked up the name {query.name} ({query.type}), which is not the mirror's"
    for entry in packets.refused:
        port = "" if entry.port is None else f" port {entry.port}"
        yield f"image {image} sent {entry.packets} packets to {entry.daddr} {entry.protocol}{port}; they were refused"
    for refused in report.refused_sockets:
        if refused.image == image:
            yield f"image {image} wanted a socket {refused.family} {refused.type} ({refused.program}); it was refused"
