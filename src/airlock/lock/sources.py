"""Sources and plugins of images: released sdists, branch tarballs, third-party archives, and `requirements`, made here.

docs/ecosystems/sources.md says which section takes which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from pathlib import PurePosixPath
from urllib.parse import unquote

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from airlock.core.errors import DefinitionError, GoneError, IntegrityError, ResolutionError
from airlock.core.paths import safe_component
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.fetch.upstreams import PYPI
from airlock.fetch.witness import Witness
from airlock.kolla.environment import SourceWant
from airlock.kolla.render import OPENDEV
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, artifact_id
from airlock.lock.python_files import project_artifact
from airlock.lock.python_model import SourceTree
from airlock.lock.shortfall import Shortfall
from airlock.lock.sources_fetch import fetch
from airlock.lock.sources_names import (
    make_archive,
    newest_sdist,
    pinned,
    project_of,
    split_address,
    stated_version,
    stem,
)
from airlock.store.pool import Pool

REQUIREMENTS = "requirements"
"""The project whose archive is made from the definition's constraints: it is on no package index."""

# Where a project's name on the package index is not that of its repository (setup.cfg of each).
_INDEX_NAMES = {
    "cyborg": "openstack-cyborg",
    "heat": "openstack-heat",
    "kuryr": "kuryr-lib",
    "placement": "openstack-placement",
    "venus": "openstack-venus",
    "watcher": "python-watcher",
}


class SourcesResult(msgspec.Struct, frozen=True):
    """Sources of one architecture.

    Attributes:
        demands: one an image, line and section, answered.
        archives: section of kolla-build.conf → the archive as a tree that pip may install.
        upstreams: name → address of third parties that Kolla's configuration names (``refresh`` needs them).
    """

    demands: tuple[Demand, ...]
    artifacts: tuple[Artifact, ...]
    archives: dict[str, SourceTree]
    upstreams: dict[str, str]


async def resolve_sources(
    loaded: LoadedDefinition,
    gathered: Gathered,
    witness: Witness,
    pool: Pool,
    settled: Container[str] = (),
    shortfall: Shortfall | None = None,
) -> SourcesResult:
    """Answer every ``source`` demand of an architecture.

    Args:
        settled: names of upstreams whose address stands in the factory's settings.
        shortfall: is told of images whose sources cannot be had, where going on is wanted.

    Raises:
        ResolutionError: a section has neither a release nor a branch archive that can be taken; names it.
        DefinitionError: a specifier in the definition is none.
        IntegrityError: an archive is not what Kolla declares.
        UpstreamError: an upstream fails.
    """
    wants = {want.section: want for image in gathered.tree.images for want in image.sources}
    asked = [demand for demand in gathered.demands if demand.kind == "source"]
    resolver = SourceResolver(loaded, gathered.arch, gathered.tree.upstreams.get(OPENDEV, ""), witness, pool, settled)
    answers: dict[str, tuple[Artifact, SourceTree]] = {}
    shortfall = shortfall or Shortfall(gathered.arch)
    first = {demand.spec: demand for demand in reversed(asked)}
    tasks = {spec: asyncio.create_task(resolver.resolve(wants[spec], demand.where)) for spec, demand in first.items()}
    try:
        for demand in asked:  # in order, so that of several refusals the same one is raised
            with shortfall.of(demand.image):
                answers[demand.spec] = await tasks[demand.spec]
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    answered = [one for one in asked if one.spec in answers]
    return SourcesResult(
        demands=tuple(msgspec.structs.replace(one, artifacts=(answers[one.spec][0].id,)) for one in answered),
        artifacts=tuple({found.id: found for found, _ in answers.values()}.values()),
        archives={section: tree for section, (_, tree) in answers.items()},
        upstreams=resolver.upstreams,
    )


def asked_upstreams(loaded: LoadedDefinition, gathered: Gathered, witness: Witness, pool: Pool) -> dict[str, str]:
    """Upstreams besides the package index that sources will be asked of: name → the address that Kolla has for it."""
    tarballs = gathered.tree.upstreams.get(OPENDEV, "")
    resolver = SourceResolver(loaded, gathered.arch, tarballs, witness, pool)
    wants = [want for image in gathered.tree.images for want in image.sources]
    demanded = {demand.spec for demand in gathered.demands if demand.kind == "source"}
    found = [resolver.upstream(want) for want in wants if want.section in demanded]
    return dict(place for place in found if place is not None)


class SourceResolver:
    """Answers sections of kolla-build.conf for one architecture.

    Args:
        tarballs: Kolla's ``tarballs_base``, the address of the upstream ``opendev``.
    """

    def __init__(
        self,
        loaded: LoadedDefinition,
        arch: str,
        tarballs: str,
        witness: Witness,
        pool: Pool,
        settled: Container[str] = (),
    ) -> None:
        self._definition = loaded.definition
        self._constraints = loaded.files[loaded.definition.sources.constraints].decode("utf-8")
        self._arch, self._tarballs = arch, tarballs.rstrip("/")
        self._witness, self._pool, self._settled = witness, pool, settled
        self.upstreams: dict[str, str] = {}

    async def resolve(self, want: SourceWant, where: str) -> tuple[Artifact, SourceTree]:
        """The archive that answers a section, and the same as something that pip may install."""
        project = project_of(want)
        if project == REQUIREMENTS:
            found = self._requirements()
        elif want.type == "url" and (want.sha256 or not self._ours(want)):
            found = await self._third_party(want, where)
        elif self._released(want.section):
            found = await self._release(want, project, where)
        elif want.type == "url":
            found = await self._branch(want, project)
        else:
            raise ResolutionError(
                f"{where}: section {want.section} takes a {want.type} source, which cannot be carried",
                remedy=f'Take a release: "{want.section}" = "==VERSION" under [sources.release] in the definition.',
            )
        return found, SourceTree(found.name, found.file, self._pool.path(found.sha256), found.id)

    def upstream(self, want: SourceWant) -> tuple[str, str] | None:
        """(name, address) of the upstream that a section will be asked of, where it is not the package index."""
        if project_of(want) == REQUIREMENTS or want.type != "url":
            return None
        if self._released(want.section) and not want.sha256 and self._ours(want):
            return None
        return split_address(want.location, self._tarballs)[:2]

    def _ours(self, want: SourceWant) -> bool:
        return bool(self._tarballs) and want.location.startswith(self._tarballs + "/")

    def _released(self, section: str) -> bool:
        sources = self._definition.sources
        if section in sources.release:
            return True
        return sources.default == "release" and section not in sources.branch

    def _requirements(self) -> Artifact:
        """One folder, one file: the definition's constraints under the name that Dockerfiles read."""
        release = self._definition.openstack
        data = make_archive(f"{REQUIREMENTS}-{release}", {"upper-constraints.txt": self._constraints.encode()})
        file = f"{REQUIREMENTS}-{release}.tar.gz"
        sha256 = self._pool.add_bytes(data)
        return _artifact(REQUIREMENTS, release, file, sha256, len(data), "airlock", file, "made")

    async def _release(self, want: SourceWant, project: str, where: str) -> Artifact:
        name = _INDEX_NAMES.get(project, project)
        specifier = self._specifier(want, project, name, where)
        remedy = (
            f'Correct "{want.section}" under [sources.release] in the definition, or list the section in '
            "[sources] branch to take its branch tarball."
        )
        try:
            files = await self._witness.project(PYPI, name)
        except GoneError:
            raise ResolutionError(
                f"{where}: section {want.section}: there is no project {name} on the package index", remedy=remedy
            ) from None
        newest = newest_sdist(files, name, specifier)
        if newest is None:
            raise ResolutionError(
                f"{where}: section {want.section}: no released sdist of {name} fits {str(specifier)!r}", remedy=remedy
            )
        version, file = newest
        sdist = await project_artifact(self._witness, PYPI, name, version, file)
        await self._witness.project_file(PYPI, name, sdist.file, sdist.sha256)  # read below: pip installs it
        return msgspec.structs.replace(sdist, id=artifact_id("source", sdist.file), kind="source")

    def _specifier(self, want: SourceWant, project: str, name: str, where: str) -> SpecifierSet:
        """What the definition says; else the pin in the constraints; else a version in Kolla's own address."""
        text = self._definition.sources.release.get(want.section, "")
        if not text:
            pin = pinned(self._constraints, name) or stated_version(want, project)
            text = f"=={pin}" if pin else ""
        if not text:
            raise ResolutionError(
                f"{where}: section {want.section}: neither the definition nor the constraints name a release",
                remedy=f'Add "{want.section}" = "==VERSION.*" under [sources.release] in the release definition.',
            )
        try:
            return SpecifierSet(text)
        except InvalidSpecifier:
            raise DefinitionError(
                f"[sources.release] {want.section} = {text!r} is no version specifier",
                remedy='For example "==25.0.*" (PEP 440).',
            ) from None

    async def _branch(self, want: SourceWant, project: str) -> Artifact:
        path = unquote(want.location.removeprefix(self._tarballs + "/"))
        sha256, size = await fetch(self._witness, OPENDEV, path, f"section {want.section}")
        file = safe_component(PurePosixPath(path).name)
        version = stem(file).removeprefix(f"{project}-")
        name = _INDEX_NAMES.get(project, project)  # what pip will read in it
        return _artifact(name, version, file, sha256, size, OPENDEV, path, "first-seen")

    async def _third_party(self, want: SourceWant, where: str) -> Artifact:
        """What Kolla takes from elsewhere: an upstream of its own, named after the host."""
        debian = DEBIAN_ARCHITECTURES[self._arch]
        declared = want.sha256.get(debian, "").lower()
        if want.sha256 and not declared:
            raise ResolutionError(
                f"{where}: section {want.section}: Kolla declares no sha256 for {debian}",
                remedy="Leave the image out on this architecture, or set the section's sha256 in [kolla.conf].",
            )
        upstream, address, path = split_address(want.location, self._tarballs)
        if upstream != OPENDEV:
            self.upstreams[upstream] = address
            if upstream not in self._settled:
                self._witness.add_upstream(upstream, address)
        sha256, size = await fetch(self._witness, upstream, path, f"section {want.section}")
        if declared and sha256 != declared:
            raise IntegrityError(
                f"section {want.section}: the upstream {upstream} serves {sha256}; Kolla declares {declared}",
                remedy="Do not take it: ask the upstream, or set another version of the section in [kolla.conf].",
            )
        file = safe_component(PurePosixPath(path).name)
        trust = "declared" if declared else "first-seen"
        found = _artifact(project_of(want), "", file, sha256, size, upstream, path, trust)
        if not declared:
            return found
        named = debian in file or self._arch in file  # else two architectures' files may have one name
        ident = found.id if named else f"{found.id}#{sha256[:8]}"
        return msgspec.structs.replace(found, id=ident, arch=self._arch)


def _artifact(
    name: str, version: str, file: str, sha256: str, size: int, upstream: str, path: str, trust: str
) -> Artifact:
    return msgspec.convert(
        {
            "type": "artifact",
            "id": artifact_id("source", file),
            "kind": "source",
            "name": name,
            "version": version,
            "arch": "any",
            "file": file,
            "sha256": sha256,
            "size": size,
            "upstream": upstream,
            "path": path,
            "trust": trust,
        },
        Artifact,
    )
