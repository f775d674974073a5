"""The root image, made in the room from locked packages, or brought by the bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.errors import BuildError
from airlock.core.progress import Reporter
from airlock.engine.mmdebstrap import RECIPE, make_base
from airlock.lock.model import Lock


def base_key(lock: Lock, arch: str, sources_list: str, timestamp: int) -> str:
    """Digest of everything that goes into the base image: its packages, its source list, its time, the recipe."""
    by_id = lock.by_id
    packages = sorted(
        by_id[ident].sha256
        for demand in lock.demands
        if (demand.arch, demand.kind) == (arch, "base-image")
        for ident in demand.artifacts
    )
    return sha256_bytes(canonical({"packages": packages, "sources": sources_list, "time": timestamp, "recipe": RECIPE}))


async def base_tar(
    cache: Path, key: str, *, suite: str, sources_list: str, debian_arch: str, timestamp: int,
    enter: Sequence[str], fresh: bool, reporter: Reporter,
) -> Path:  # fmt: skip
    """The root file system as a tar, from the site's cache or made in the room.

    Args:
        cache: folder of base tars, by key.
        enter: words before a command that run it in the room.
        fresh: make it again even if it is kept.

    Raises:
        BuildError: mmdebstrap failed; its words are in the message.
    """
    tar = cache / f"{key}.tar"
    if tar.exists() and not fresh:
        reporter.say("  base image: kept from an earlier build, from the same packages")
        return tar
    reporter.say("  base image: made from locked packages by mmdebstrap")
    await asyncio.to_thread(
        make_base,
        tar=tar,
        sources_list=sources_list,
        suite=suite,
        debian_arch=debian_arch,
        run_prefix=enter,
        source_date_epoch=timestamp,
    )
    if not tar.exists():
        raise BuildError("mmdebstrap made no base image")
    return tar
