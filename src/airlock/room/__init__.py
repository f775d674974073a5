"""The sealed room: namespace, counters, names, gateway, runtime."""

from airlock.room.gateway import MIRROR_NAME, Mirror, MirrorFile
from airlock.room.report import RoomReport, Served
from airlock.room.runtime import BUILD_LOGS, Mount
from airlock.room.sealed import SealedRoom

__all__ = ["BUILD_LOGS", "MIRROR_NAME", "Mirror", "MirrorFile", "Mount", "RoomReport", "SealedRoom", "Served"]
