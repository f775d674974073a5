"""The root image, made in the room from locked packages."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.progress import Reporter
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.engine.mmdebstrap import RECIPE, make_base
from airlock.engine.registry import import_tar
from airlock.kolla.overrides import BASE_IMAGE
from airlock.lock.model import Lock
from airlock.room.sealed import SealedRoom

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class BaseWant(msgspec.Struct, frozen=True):
    """What the base image of one architecture is made of.

    Attributes:
        release: code name, and the image's tag.
        sources_list: its /etc/apt/sources.list, sealed.
        timestamp: the newest of its packages, in seconds since the epoch.
        packages: sha256 of its packages, sorted.
    """

    arch: str
    release: str
    sources_list: str
    timestamp: int
    packages: tuple[str, ...]

    @property
    def key(self) -> str:
        """Digest of everything that goes into it."""
        return sha256_bytes(canonical([msgspec.to_builtins(self), RECIPE]))


def base_want(lock: Lock, arch: str, release: str, sources_list: str, timestamp: int) -> BaseWant:
    """What a lock says of an architecture's base image."""
    by_id = lock.by_id
    demands = [demand for demand in lock.demands if (demand.arch, demand.kind) == (arch, "base-image")]
    packages = tuple(sorted(by_id[ident].sha256 for demand in demands for ident in demand.artifacts))
    return BaseWant(arch, release, sources_list, timestamp, packages)


async def provide_base(room: SealedRoom, want: BaseWant, cache: Path, *, fresh: bool, reporter: Reporter) -> str:
    """Put the base image into the room's engine; returns its id.

    Args:
        cache: folder of root file systems from earlier builds, by key.
        fresh: make it again even if it is kept.

    Raises:
        BuildError: mmdebstrap failed.
    """
    tar = cache / f"{want.key}.tar"
    if tar.exists() and not fresh:
        reporter.say("base image: kept from an earlier build, made of the same packages")
    else:
        reporter.say(f"base image: mmdebstrap makes it of {len(want.packages)} locked packages")
        await asyncio.to_thread(
            make_base,
            tar=tar,
            sources_list=want.sources_list,
            suite=want.release,
            debian_arch=DEBIAN_ARCHITECTURES[want.arch],
            run_prefix=room.command([]),
            source_date_epoch=want.timestamp,
        )
    return await import_tar(
        room.engine,
        tar,
        f"{BASE_IMAGE}:{want.release}",
        architecture=DEBIAN_ARCHITECTURES[want.arch],
        timestamp=want.timestamp,
        environment=ENVIRONMENT,
        command=["bash"],
    )
