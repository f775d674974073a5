"""The root image: made in the room from locked packages, or a registry's image put together from its locked files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.progress import Reporter
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.engine.image_manifest import is_reference, parse_reference
from airlock.engine.mmdebstrap import RECIPE, make_base
from airlock.engine.registry import import_files, import_tar
from airlock.kolla.overrides import BASE_IMAGE
from airlock.lock.model import Artifact, Lock
from airlock.room.sealed import SealedRoom

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class BaseWant(msgspec.Struct, frozen=True):
    """What the base image of one architecture is made of.

    Attributes:
        release: code name, and the image's tag.
        sources_list: its /etc/apt/sources.list, sealed.
        timestamp: the newest of its packages, in seconds since the epoch.
        packages: sha256 of its packages, or of the files of a registry's image, sorted.
        reference: of the registry's image; empty for one made from packages.
    """

    arch: str
    release: str
    sources_list: str
    timestamp: int
    packages: tuple[str, ...]
    reference: str = ""

    @property
    def key(self) -> str:
        """Digest of everything that goes into it."""
        return sha256_bytes(canonical([msgspec.to_builtins(self), RECIPE]))


def base_want(lock: Lock, arch: str, release: str, sources_list: str, timestamp: int) -> BaseWant:
    """What a lock says of an architecture's base image."""
    by_id = lock.by_id
    demands = [demand for demand in lock.demands if (demand.arch, demand.kind) == (arch, "base-image")]
    packages = tuple(sorted(by_id[ident].sha256 for demand in demands for ident in demand.artifacts))
    reference = next((demand.spec for demand in demands if is_reference(demand.spec)), "")
    return BaseWant(arch, release, sources_list, timestamp, packages, reference)


def base_content(lock: Lock, want: BaseWant, content: Callable[[Artifact], Path]) -> dict[str, Path]:
    """sha256 → file of the registry's image that is wanted; nothing for one made from packages."""
    wanted = want.packages if want.reference else ()
    return {artifact.sha256: content(artifact) for artifact in lock.artifacts if artifact.sha256 in wanted}


async def provide_base(
    room: SealedRoom,
    want: BaseWant,
    content: Mapping[str, Path],
    cache: Path,
    *,
    fresh: bool,
    reporter: Reporter,
) -> str:
    """Put the base image into the room's engine; returns its id.

    Args:
        content: sha256 → where the bundle has that file, for a registry's image.
        cache: folder of root file systems from earlier builds, by key.
        fresh: make it again even if it is kept.

    Raises:
        BuildError: mmdebstrap failed.
        IntegrityError: the files are not those of the image.
    """
    if want.reference:
        reference, architecture = parse_reference(want.reference), DEBIAN_ARCHITECTURES[want.arch]
        reporter.say(f"base image: {reference}, from {len(want.packages)} locked files")
        return await import_files(room.engine, content, reference, f"{BASE_IMAGE}:{want.release}", architecture)
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
