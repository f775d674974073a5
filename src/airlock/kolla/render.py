"""Render a release definition with Kolla's own templates: one build context an image, as kolla-build makes it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from airlock.definition.model import LoadedDefinition
from airlock.kolla.apt_sources import MIRROR, is_mirror_list, parse_sources_list
from airlock.kolla.digests import context_digest, dockerfile_digest
from airlock.kolla.environment import KollaEnvironment, Rendered, SourceWant, WorkerImage
from airlock.kolla.overrides import Mode, SealedSource, write_knobs
from airlock.kolla.redirect import lead_clients, redirect
from airlock.kolla.selection import select

OPENDEV = "opendev"
"""Name of the upstream at Kolla's ``tarballs_base``."""


class RenderedImage(msgspec.Struct, frozen=True):
    """One image of a rendered tree.

    Attributes:
        parent: name of the parent image; empty for a root.
        reference: the name Kolla builds it under (``kolla/keystone:airlock``), as a child's FROM has it.
        folder: its build context, Dockerfile inside.
        sources: what Kolla would fetch into the context, those not enabled left out.
        repositories: vendor repositories that it enables where they are kept.
    """

    name: str
    parent: str
    reference: str
    folder: Path
    dockerfile: bytes
    sources: tuple[SourceWant, ...]
    repositories: tuple[str, ...] = ()

    @property
    def dockerfile_digest(self) -> str:
        """sha256 of the normalised Dockerfile."""
        return dockerfile_digest(self.dockerfile)

    @property
    def context_digest(self) -> str:
        """sha256 over the folder without the Dockerfile (the lock's ``context``, of an upstream rendering)."""
        return context_digest(self.folder, dockerfile=False)

    @property
    def sealed_digest(self) -> str:
        """sha256 over the whole folder (the lock's ``sealed``, of a sealed rendering)."""
        return context_digest(self.folder, dockerfile=True)


class RenderedTree(msgspec.Struct, frozen=True):
    """A whole rendering.

    Attributes:
        root: folder below which all images' folders lie.
        conf, conf_dir: what Kolla was configured with; the build takes the same.
        images: those wanted and their ancestors, parents first, otherwise by name.
        left_out: image that was selected and is not among them → why.
        apt: files of ``base``'s context for /etc/apt: ``sources.list`` and ``preferences``; empty for rpm.
        upstreams: name → address, as Kolla's own files have it (upstream rendering only).
        kolla_version: as pbr says.
        python_version: of the distribution's interpreter (``3.11``); empty for Kolla of 2024.2 and later,
            which does not say it.
    """

    mode: Mode
    arch: str
    root: Path
    conf: Path
    conf_dir: Path
    images: tuple[RenderedImage, ...]
    apt: dict[str, bytes]
    upstreams: dict[str, str]
    kolla_version: str
    python_version: str
    left_out: dict[str, str] = {}

    @property
    def by_name(self) -> dict[str, RenderedImage]:
        """Images by name."""
        return {image.name: image for image in self.images}


def render(
    environment: KollaEnvironment,
    loaded: LoadedDefinition,
    arch: str,
    mode: Mode,
    work: Path,
    sources: Mapping[str, SealedSource] | None = None,
    files: Mapping[str, Mapping[str, str]] | None = None,
    indexes: Mapping[str, Mapping[str, tuple[str, int]]] | None = None,
    extrepo: Mapping[str, tuple[str, str]] | None = None,
) -> RenderedTree:
    """Render the definition's images and their ancestors into ``work`` (what a former rendering left is removed).

    Args:
        arch: Kolla's name of the architecture.
        mode: ``upstream`` (addresses as Kolla has them) or ``sealed`` (everything from the mirror in the room).
        sources: for ``sealed``: section of kolla-build.conf → the locked file.
        files: for ``sealed``: image → address that its Dockerfile fetches → address on the mirror.
        indexes: for ``sealed``: image → kind of demand → address of its index on the mirror, and how many commands.
        extrepo: for ``sealed``: see ``write_knobs``.

    Raises:
        DefinitionError: unknown image, base, release, architecture, option or vendor repository (with the nearest
            valid name), an image that cannot be built on this base, an override that does not render.
        ToolError: there is no working Kolla.
    """
    kolla = environment.description
    work = work.absolute()
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    knobs = write_knobs(loaded, kolla, arch, mode, work, sources, extrepo)
    answer = environment.ask(
        {
            "command": "render",
            "conf": str(knobs.conf),
            "conf_dir": str(knobs.conf_dir),
            "profiles": loaded.definition.profile,
            "overrides": [str(path) for path in knobs.overrides],
            "override": str(work / "override.j2"),
        },
        "rendered",
        Rendered,
    )
    root = Path(answer.root)
    selection = select(loaded, answer.images, kolla.version, arch)
    _prune(root, selection.images)
    for image in selection.images:
        if addresses := (files or {}).get(image.name):
            dockerfile = root / image.path / "Dockerfile"
            dockerfile.write_text(redirect(dockerfile.read_text("utf-8"), addresses, image.name), "utf-8")
        if led := (indexes or {}).get(image.name):
            dockerfile = root / image.path / "Dockerfile"
            text = lead_clients(dockerfile.read_text("utf-8"), led, image.name)
            dockerfile.write_text(text, "utf-8")
    images = tuple(_image(image, root) for image in selection.images)
    apt = _apt_files(root / "base", knobs.sources_list, loaded.definition.base.distribution)
    upstreams: dict[str, str] = {}
    if mode == "upstream":
        upstreams[OPENDEV] = answer.tarballs_base
        if "sources.list" in apt:
            listed = parse_sources_list(apt["sources.list"].decode(), knobs.sources_list)
            upstreams |= {one.upstream: one.address for one in listed if not is_mirror_list(one.address)}
    return RenderedTree(
        mode=mode,
        arch=arch,
        root=root,
        conf=knobs.conf,
        conf_dir=knobs.conf_dir,
        images=images,
        apt=apt,
        upstreams=upstreams,
        kolla_version=kolla.version,
        python_version=answer.distro_python_version,
        left_out=selection.left_out,
    )


def unsealed_sources(tree: RenderedTree) -> list[tuple[str, SourceWant]]:
    """(image, source) of everything in a sealed rendering that Kolla would fetch from elsewhere than the mirror."""
    return [
        (image.name, source)
        for image in tree.images
        for source in image.sources
        if source.type != "url" or not source.location.startswith(MIRROR + "/")
    ]


def _prune(root: Path, chosen: Sequence[WorkerImage]) -> None:
    """Keep only the chosen images' folders, and give what stays modes that do not depend on how Kolla was installed."""
    folders = {root / image.path for image in chosen}
    for folder in folders:
        (folder / "Dockerfile.j2").unlink()
    for path in sorted(root.rglob("*"), reverse=True):
        if not any(folder == path or folder in path.parents for folder in folders):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()
        elif not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _image(image: WorkerImage, root: Path) -> RenderedImage:
    folder = root / image.path
    dockerfile = (folder / "Dockerfile").read_bytes()
    sources = tuple(source for source in image.sources if source.enabled)
    repositories = tuple(image.repositories)
    return RenderedImage(image.name, image.parent, image.canonical_name, folder, dockerfile, sources, repositories)


def _apt_files(context: Path, sources_list: str, distribution: str) -> dict[str, bytes]:
    """What ``base`` copies below /etc/apt, by the names it has there."""
    found = {}
    for name, file in (("sources.list", sources_list), ("preferences", f"apt_preferences.{distribution}")):
        if file and (context / file).is_file():
            found[name] = (context / file).read_bytes()
    return found
