"""Which file of a project pip takes for an interpreter and platform: the best wheel, else the sdist."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from airlock.core.errors import ResolutionError
from airlock.fetch.simple import ProjectFile
from airlock.fetch.witness import Witness
from airlock.lock.model import Artifact, ArtifactKind, artifact_id

GLIBC: dict[str, tuple[int, int]] = {
    "bookworm": (2, 36),
    "trixie": (2, 41),
    "jammy": (2, 35),
    "noble": (2, 39),
    "9": (2, 34),
    "stream9": (2, 34),
}
"""glibc of a base image, by its release."""

# PEP 600: names that older tools know the same platform by.
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST = {"x86_64": 5}
_SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz")


class Target(msgspec.Struct, frozen=True):
    """An interpreter and a platform.

    Attributes:
        python: full version, ``3.11.2``.
        arch: ``x86_64``, ``aarch64``.
        glibc: its version.
    """

    python: str
    arch: str
    glibc: tuple[int, int]

    @property
    def minor(self) -> tuple[int, int]:
        """(3, 11)."""
        release = Version(self.python).release
        return release[0], release[1]

    @property
    def uv_platform(self) -> str:
        """uv's ``--python-platform``."""
        return f"{self.arch}-manylinux_{self.glibc[0]}_{self.glibc[1]}"

    def tags(self) -> list[Tag]:
        """Compatible tags, best first: what ``packaging.tags.sys_tags`` gives in the image."""
        return list(_tags(self))


@lru_cache(maxsize=8)
def _tags(target: Target) -> tuple[Tag, ...]:
    abi = f"cp{target.minor[0]}{target.minor[1]}"
    platforms = _platforms(target.arch, target.glibc)
    tags = cpython_tags(target.minor, abis=[abi], platforms=platforms)
    return (*tags, *compatible_tags(target.minor, interpreter=abi, platforms=platforms))


def _platforms(arch: str, glibc: tuple[int, int]) -> list[str]:
    found = [f"linux_{arch}"]
    for minor in range(glibc[1], _OLDEST.get(arch, 17) - 1, -1):
        found.append(f"manylinux_{glibc[0]}_{minor}_{arch}")
        if minor in _LEGACY:
            found.append(f"{_LEGACY[minor]}_{arch}")
    return found


def choose(files: Iterable[ProjectFile], name: str, version: str, target: Target) -> ProjectFile | None:
    """The file pip takes of one version of a project: the best wheel by tag, then by build number; else the sdist.

    A yanked file counts only where no other is left (PEP 592, as for a pinned version).
    """
    wanted = Version(version)
    of_version = [file for file in files if _said_version(file.filename) == wanted]  # a project has thousands of files
    candidates = [file for file in of_version if _version(file, name) == wanted and _fits(file, target.python)]
    for yanked in (False, True):
        found = _best([file for file in candidates if file.yanked is yanked], target.tags())
        if found is not None:
            return found
    return None


def _best(files: Sequence[ProjectFile], tags: Sequence[Tag]) -> ProjectFile | None:
    rank = {tag: number for number, tag in enumerate(tags)}
    wheels: list[tuple[int, tuple[int, ...], str, ProjectFile]] = []
    for file in files:
        if file.filename.endswith(".whl"):
            _, _, build, offered = parse_wheel_filename(file.filename)
            ranks = [rank[tag] for tag in offered if tag in rank]
            if ranks:
                number = build[0] if build else -1
                wheels.append((min(ranks), (-number,), file.filename, file))
    if wheels:
        return min(wheels)[3]
    sdists = [file for file in files if not file.filename.endswith(".whl")]
    return min(
        sdists, key=lambda file: [file.filename.endswith(end) for end in _SDIST_SUFFIXES].index(True), default=None
    )


def _fits(file: ProjectFile, python: str) -> bool:
    try:
        return not file.requires_python or SpecifierSet(file.requires_python).contains(python, prereleases=True)
    except InvalidSpecifier:
        return True  # as pip does


def _said_version(file: str) -> Version | None:
    """The version at its place in a file's name, whatever else the name holds."""
    if file.endswith(".whl"):
        return _parsed("".join(file.split("-")[1:2]))
    return _parsed(_stem(file).rpartition("-")[2]) if is_sdist(file) else None


@lru_cache(maxsize=1 << 14)
def _parsed(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _version(file: ProjectFile, name: str) -> Version | None:
    try:
        if file.filename.endswith(".whl"):
            found, version, _, _ = parse_wheel_filename(file.filename)
        elif file.filename.endswith((".tar.gz", ".zip")):
            found, version = parse_sdist_filename(file.filename)
        elif file.filename.endswith(_SDIST_SUFFIXES):
            found, version = parse_sdist_filename(f"{_stem(file.filename)}.tar.gz")
        else:
            return None
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
    return version if found == canonicalize_name(name) else None


def _stem(file: str) -> str:
    return next(file.removesuffix(end) for end in _SDIST_SUFFIXES if file.endswith(end))


def is_sdist(file: str) -> bool:
    """Whether a file name is that of an sdist."""
    return file.endswith(_SDIST_SUFFIXES)


async def file_artifact(
    witness: Witness, upstream: str, name: str, version: str, target: Target, where: str
) -> Artifact:
    """The artifact that answers ``name==version`` on a target.

    Args:
        where: image and line, for messages.

    Raises:
        ResolutionError: no file of that version suits the interpreter and platform.
        UpstreamError: the index fails.
    """
    files = await witness.project(upstream, name)
    found = choose(files, name, version, target)
    if found is None:
        raise ResolutionError(
            f"{where}: {name} {version} has no file for Python {target.python} on {target.arch}, "
            f"glibc {target.glibc[0]}.{target.glibc[1]}",
            remedy="Pin another version under [python] pins in the release definition.",
        )
    return await project_artifact(witness, upstream, name, version, found)


async def project_artifact(witness: Witness, upstream: str, name: str, version: str, file: ProjectFile) -> Artifact:
    """The artifact of one file on a project's page; fetched only where the page lacks its hash or size."""
    sha256, size = file.sha256, file.size
    if not sha256 or not size:
        path = await witness.project_file(upstream, name, file.filename, sha256)
        sha256, size = path.name, path.stat().st_size
    kind: ArtifactKind = "wheel" if file.filename.endswith(".whl") else "sdist"
    normal = str(canonicalize_name(name))
    return Artifact(
        id=artifact_id(kind, file.filename),
        kind=kind,
        name=normal,
        version=version,
        arch=_arch(file.filename),
        file=file.filename,
        sha256=sha256,
        size=size,
        upstream=upstream,
        path=f"{normal}/{file.filename}",
        trust="first-seen",
    )


def _arch(file: str) -> str:
    """Kolla's architecture of a wheel that runs on one only, else ``any``."""
    platform = file.removesuffix(".whl").rpartition("-")[2]
    return next((arch for arch in ("x86_64", "aarch64") if platform.endswith(arch)), "any")
