"""What a locked wheel or sdist says that it requires, without running anything of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from packaging.metadata import RawMetadata, parse_email
from packaging.utils import canonicalize_name

from airlock.core.errors import FormatError
from airlock.lock.archives import read_members
from airlock.lock.model import Artifact

_MAX = 4 << 20  # bytes of one file of metadata
_SECTION = re.compile(r"\[(?P<extra>[^:\]]*)(?::(?P<marker>[^\]]*))?\]")
_STATED = {"wheel": "METADATA", "sdist": "PKG-INFO"}
"""Kind → the file that says what it is; the archive of a branch may have none."""
_WHEEL_FILES = re.compile(r"[^/]+\.dist-info/METADATA")
_SDIST_FILES = re.compile(r"(\./)?[^/]+/(PKG-INFO|pyproject\.toml|[^/]+\.egg-info/(requires\.txt|pbr\.json))")


class Project(msgspec.Struct, frozen=True):
    """What a file says of itself.

    Attributes:
        name: normalised; the artifact's own where the file says nothing.
        version: as the file says it; empty where it does not.
        requires: PEP 508.
        python: which interpreters it is for (Requires-Python).
        pyproject: of an sdist, its ``pyproject.toml``, if it has one.
    """

    name: str
    version: str = ""
    requires: tuple[str, ...] = ()
    python: str = ""
    pyproject: bytes | None = None


def read_project(path: Path, artifact: Artifact) -> Project:
    """What a wheel has in METADATA, and an sdist in PKG-INFO.

    An sdist may have computed its requirements on its maintainer's machine (pyScss: for Python 2), so those of PKG-INFO
    count from version 2.2 on, where they are not dynamic, and those of ``requires.txt`` where pbr, which takes them
    from a static file, made them. What states none has none: what it takes shows when it is built.

    Raises:
        FormatError: it is no archive, is cut off, or is a wheel without METADATA or an sdist without PKG-INFO.
        FileNotFoundError: it is not there.
    """
    pattern = _WHEEL_FILES if artifact.kind == "wheel" else _SDIST_FILES
    found = {name.rpartition("/")[2]: data for name, data in read_members(path, artifact.file, pattern.fullmatch, _MAX)}
    metadata = found.get(_STATED.get(artifact.kind, "PKG-INFO"), b"")
    pyproject = found.get("pyproject.toml")
    if not metadata:
        if artifact.kind in _STATED:
            lacks = _STATED[artifact.kind]
            raise FormatError(
                f"{artifact.file} is no {artifact.kind}: it has no {lacks}", remedy="Take another version."
            )
        return Project(canonicalize_name(artifact.name), pyproject=pyproject)
    said, _ = parse_email(metadata)
    stated = tuple(said.get("requires_dist", ())) if _reliable(said, artifact) else ()
    listed = found.get("requires.txt", b"").decode("utf-8", "replace") if "pbr.json" in found else ""
    return Project(
        name=canonicalize_name(said.get("name") or artifact.name),
        version=said.get("version", ""),
        requires=stated or tuple(setuptools_requirements(listed)),
        python=said.get("requires_python", ""),
        pyproject=pyproject,
    )


def _reliable(metadata: RawMetadata, artifact: Artifact) -> bool:
    old = metadata.get("metadata_version", "1.0") in ("1.0", "1.1", "1.2", "2.0", "2.1")
    dynamic = {field.lower() for field in metadata.get("dynamic", ())}
    return artifact.kind == "wheel" or not (old or "requires-dist" in dynamic)


def setuptools_requirements(text: str) -> Iterator[str]:
    """The requirements of an ``egg-info/requires.txt``: a section is ``[extra:marker]``, either of which may lack."""
    conditions: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if section := _SECTION.fullmatch(line):
            extra, marker = section["extra"], section["marker"]
            conditions = [f"({marker})"] if marker else []
            conditions += [f'extra == "{extra}"'] if extra else []
        elif line and not line.startswith("#"):
            yield f"{line} ; {' and '.join(conditions)}" if conditions else line


def requirement_lines(text: str) -> Iterator[str]:
    """The requirements of a requirements file (pip's ``-r``); options and comments are left out."""
    for raw in text.replace("\\\n", "").splitlines():
        line = re.sub(r"(^|\s)#.*", "", raw).strip()
        if line and not line.startswith("-"):
            yield line
