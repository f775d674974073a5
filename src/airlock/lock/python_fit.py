"""Whether a wheel or sdist is what its name promises, and for an image's interpreter: else pip does not install it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from airlock.lock.model import Artifact
from airlock.lock.python_files import Target
from airlock.lock.python_requires import Project


def misfits(artifact: Artifact, project: Project, target: Target) -> Iterator[str]:
    """What is wrong with a locked file, in words that begin with its name.

    Args:
        artifact: as the lock has it; of another kind than wheel and sdist nothing is said.
        project: what the file says of itself.
    """
    if artifact.kind not in ("wheel", "sdist"):
        return
    file = artifact.file
    if project.name != artifact.name:
        yield f"{file} is locked as {artifact.name}, and says that it is {project.name}"
    elif artifact.kind == "wheel" and not _same(project.version, artifact.version):
        yield f"{file} is locked as version {artifact.version}, and says that it is {project.version or 'of none'}"
    if artifact.kind == "wheel":
        yield from _name(artifact, target)
    try:
        if project.python and not SpecifierSet(project.python).contains(target.python, prereleases=True):
            yield f"{file} is for Python {project.python}; the image has {target.python}"
    except InvalidSpecifier:
        pass  # as pip does


def _name(artifact: Artifact, target: Target) -> Iterator[str]:
    """What the file's name says, which is all that pip knows when it chooses."""
    try:
        name, version, _, tags = parse_wheel_filename(artifact.file)
    except (InvalidWheelFilename, InvalidVersion) as error:
        yield f"{artifact.file} is not called as a wheel: {error}"
        return
    if name != artifact.name or not _same(str(version), artifact.version):
        yield f"{artifact.file} is locked as {artifact.name} {artifact.version}"
    if not tags & _offered(target):
        yield f"{artifact.file} is not for Python {target.python} on {target.arch}"


@lru_cache(maxsize=8)
def _offered(target: Target) -> frozenset[Tag]:
    return frozenset(target.tags())


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
