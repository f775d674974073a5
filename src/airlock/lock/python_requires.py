"""What a locked wheel or sdist says that it requires, without running anything of it."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import canonicalize_name

from airlock.lock.model import Artifact

_MAX = 4 << 20  # bytes of one file of metadata
_SECTION = re.compile(r"\[(?P<extra>[^:\]]*)(?::(?P<marker>[^\]]*))?\]")
_SDIST_FILES = re.compile(r"[^/]+/(PKG-INFO|[^/]+\.egg-info/(requires\.txt|pbr\.json))")


def read_requirements(path: Path, artifact: Artifact) -> tuple[str, tuple[str, ...]]:
    """Normalised name of the project, and its requirements (PEP 508).

    A wheel has them in METADATA. An sdist may have computed them on its maintainer's machine (pyScss: for Python 2), so
    those of PKG-INFO count from version 2.2 on, where they are not dynamic, and those of ``requires.txt`` where pbr,
    which takes them from a static file, made them. What states none has none: what it takes shows when it is built.
    """
    try:
        metadata, listed = _of_wheel(path) if artifact.kind == "wheel" else _of_sdist(path)
    except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError):
        metadata, listed = b"", ""
    if not metadata:
        return canonicalize_name(artifact.name), ()
    found, _ = parse_email(metadata)
    stated = tuple(found.get("requires_dist", ())) if _reliable(found, artifact) else ()
    return canonicalize_name(found.get("name") or artifact.name), stated or tuple(setuptools_requirements(listed))


def _reliable(metadata: RawMetadata, artifact: Artifact) -> bool:
    old = metadata.get("metadata_version", "1.0") in ("1.0", "1.1", "1.2", "2.0", "2.1")
    dynamic = {field.lower() for field in metadata.get("dynamic", ())}
    return artifact.kind == "wheel" or not (old or "requires-dist" in dynamic)


def _of_wheel(path: Path) -> tuple[bytes, str]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if re.fullmatch(r"[^/]+\.dist-info/METADATA", info.filename) and info.file_size <= _MAX:
                return archive.read(info), ""
    return b"", ""


def _of_sdist(path: Path) -> tuple[bytes, str]:
    found: dict[str, bytes] = {}
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            match = _SDIST_FILES.fullmatch(member.name)
            if match and member.isfile() and member.size <= _MAX and (stream := archive.extractfile(member)):
                found[match[1].rpartition("/")[2]] = stream.read()
    listed = found.get("requires.txt", b"") if "pbr.json" in found else b""
    return found.get("PKG-INFO", b""), listed.decode("utf-8", "replace")


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
