"""What sources are called and which release is meant: pure functions, and the one archive that is made here."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from airlock.fetch.simple import ProjectFile
from airlock.kolla.environment import SourceWant
from airlock.kolla.render import OPENDEV
from airlock.lock.python_files import is_sdist


def project_of(want: SourceWant) -> str:
    """The project of a section: the folder of its archive (``…/keystone/keystone-….tar.gz``), or its repository."""
    path = PurePosixPath(urlsplit(want.location).path)
    if want.type == "url" and path.name.startswith(f"{path.parent.name}-"):
        return path.parent.name
    return path.name.removesuffix(".git") if want.type == "git" else want.section


def newest_sdist(files: Sequence[ProjectFile], name: str, specifier: SpecifierSet) -> tuple[str, ProjectFile] | None:
    """(version, file) of the newest sdist that fits; yanked ones and, unless asked for, pre-releases do not."""
    found: list[tuple[Version, str, ProjectFile]] = []
    for file in files:
        if file.yanked or not is_sdist(file.filename):
            continue
        try:
            project, version = parse_sdist_filename(file.filename)
        except (InvalidSdistFilename, InvalidVersion):
            continue
        if project == canonicalize_name(name) and specifier.contains(version, prereleases=bool(specifier.prereleases)):
            found.append((version, file.filename, file))
    if not found:
        return None
    version, _, file = max(found)
    return str(version), file


def make_archive(folder: str, files: Mapping[str, bytes]) -> bytes:
    """A tar.gz of one folder whose bytes depend on nothing but its content: neither clock, nor user, nor zlib."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        top = tarfile.TarInfo(folder)
        top.type, top.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(top)
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(tarred.getvalue(), compresslevel=0, mtime=0)


def pinned(constraints: str, project: str) -> str:
    """The version that upper-constraints pin a project to; ``===`` is how that file writes it."""
    for line in constraints.splitlines():
        name, sign, rest = line.partition("===")
        if sign and canonicalize_name(name.strip()) == canonicalize_name(project):
            return rest.partition(";")[0].strip()
    return ""


def stated_version(want: SourceWant, project: str) -> str:
    """A version that stands in Kolla's own address (``pycadf-3.1.1.tar.gz``) or is the reference of a repository."""
    text = want.reference if want.type == "git" else stem(PurePosixPath(want.location).name).removeprefix(f"{project}-")
    try:
        return str(Version(text))
    except InvalidVersion:
        return ""


def stem(file: str) -> str:
    return re.sub(r"(\.tar\.(gz|bz2|xz)|\.tgz|\.zip)\Z", "", file)


def split_address(location: str, tarballs: str) -> tuple[str, str, str]:
    """(upstream's name, its address, path below it) of a URL."""
    if tarballs and location.startswith(tarballs + "/"):
        return OPENDEV, tarballs, unquote(location.removeprefix(tarballs + "/"))
    parts = urlsplit(location)
    name = re.sub(r"[^a-z0-9]+", "-", parts.netloc.lower()).strip("-")
    return (
        name,
        f"{parts.scheme}://{parts.netloc}",
        unquote(parts.path.lstrip("/")) + (f"?{parts.query}" * bool(parts.query)),
    )
