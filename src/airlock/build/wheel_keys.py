"""What a wheel that is built in the room is made of: its key, so that it is used again only where nothing changed."""

from __future__ import annotations

import msgspec

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.lock.model import Artifact, Demand, Lock

RECIPE = 1
"""Raised when the way Airlock builds wheels changes."""


class WheelWant(msgspec.Struct, frozen=True):
    """One sdist that one pip command of one image will install.

    Attributes:
        line: the pip command's line in the upstream Dockerfile.
        key: digest of the sdist, of what isolation takes, of the image up to that line, and of the recipe.
    """

    image: str
    line: int
    sdist: Artifact
    key: str


def wheel_wants(lock: Lock, arch: str, image: str, prefixes: dict[int, str]) -> list[WheelWant]:
    """The sdists that an image's pip commands install, in order of their lines.

    Args:
        prefixes: per line, the text of the sealed Dockerfile before the instruction that holds it.
    """
    chain = _chain(lock, arch, image)
    by_id = lock.by_id
    wants: list[WheelWant] = []
    for demand in lock.demands:
        if (demand.arch, demand.image, demand.kind) != (arch, image, "python") or demand.line not in prefixes:
            continue
        environment = _environment(lock, arch, chain, demand)
        isolation = {
            build.spec: sorted(by_id[ident].sha256 for ident in build.artifacts)
            for build in lock.demands
            if (build.arch, build.image, build.line, build.kind) == (arch, image, demand.line, "python-build")
        }
        for ident in demand.artifacts:
            sdist = by_id[ident]
            if sdist.kind != "sdist":
                continue
            ingredients = {
                "recipe": RECIPE,
                "sdist": sdist.sha256,
                "isolation": isolation.get(sdist.file, []),
                "environment": environment,
                "prefix": prefixes[demand.line],
            }
            wants.append(WheelWant(image, demand.line, sdist, sha256_bytes(canonical(ingredients))))
    return wants


def _chain(lock: Lock, arch: str, image: str) -> list[str]:
    """The image and its parents, root first."""
    images = {entry.name: entry for entry in lock.images if entry.arch == arch}
    names: list[str] = []
    name = image
    while name in images:
        names.insert(0, name)
        name = images[name].parent
    return names


def _environment(lock: Lock, arch: str, chain: list[str], upto: Demand) -> str:
    """Digest of everything that is installed, and of every folder built, before one line of the last image."""
    by_id = lock.by_id
    installed = sorted(
        by_id[ident].sha256
        for demand in lock.demands
        if demand.arch == arch
        and demand.image in chain
        and demand.kind in ("base-image", "apt", "python")
        and (demand.image != upto.image or demand.line < upto.line)
        for ident in demand.artifacts
    )
    built = [image.sealed for image in lock.images if image.arch == arch and image.name in chain[:-1]]
    return sha256_bytes(canonical({"installed": installed, "parents": built}))
