"""What a person looks for in build records: a file, a package, or a sha256; and when two names mean one package."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_sdist_filename,
    parse_wheel_filename,
)

from airlock.core.digest import is_sha256
from airlock.core.errors import UsageError

_ARCHIVES = (".deb", ".whl", ".tar.gz", ".tgz", ".zip", ".tar.xz", ".tar.bz2", ".tar")


class Identity(msgspec.Struct, frozen=True):
    """A package, as far as it is known; an empty field matches anything."""

    kind: str = ""
    name: str = ""
    version: str = ""
    arch: str = ""


class Query(msgspec.Struct, frozen=True):
    """What is looked for: a sha256, a file (and the package its name tells), or a package."""

    sha256: str = ""
    file: str = ""
    package: Identity | None = None


def parse_query(text: str) -> Query:
    """Understand what a person asked for.

    ``text`` is a sha256 (``sha256:`` may precede it), the name of a ``.deb``, wheel or archive (folders before it are
    dropped), or a package: ``name``, ``name=version``.

    Raises:
        UsageError: empty, or a version without a name.
    """
    text = text.strip()
    if is_sha256(digest := text.removeprefix("sha256:").lower()):
        return Query(sha256=digest)
    if text.endswith(_ARCHIVES):
        file = text.rsplit("/", 1)[-1]
        return Query(file=file, package=identify(file))
    name, _, version = text.partition("=")
    if not name.strip():
        raise UsageError(
            f"cannot look for {text!r}", remedy="Give a file name, a package (name or name=version), or a sha256."
        )
    return Query(package=Identity(name=name.strip(), version=version.lstrip("=").strip()))


def identify(file: str) -> Identity | None:
    """The package whose file has that name, or None.

    ``<package>_<version>_<architecture>.deb`` is Debian's form (deb(5), Debian policy 5.6.12: without the epoch, or
    with ``%3a``); wheels and sdists are read by ``packaging``.
    """
    if file.endswith(".deb"):
        parts = unquote(file.removesuffix(".deb")).split("_")
        return Identity("dpkg", *parts) if len(parts) == 3 and all(parts) else None
    try:
        if file.endswith(".whl"):
            name, version, _, _ = parse_wheel_filename(file)
        else:
            name, version = parse_sdist_filename(file)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return Identity("pip", name, str(version))


def same_package(have: Identity, wanted: Identity) -> bool:
    """Whether the package ``have`` is the one ``wanted`` describes."""
    if wanted.kind not in ("", have.kind) or wanted.arch not in ("", have.arch):
        return False
    if plain_name(have.kind, have.name) != plain_name(have.kind, wanted.name):
        return False
    if not wanted.version or have.version == wanted.version:
        return True
    if have.kind == "dpkg" and ":" in have.version and ":" in wanted.version:
        return False  # a file's name and people leave the epoch out; where both have one, they must agree
    return plain_version(have.kind, have.version) == plain_version(have.kind, wanted.version)


def plain_name(kind: str, name: str) -> str:
    """The name by which packages of that kind are the same (PEP 503 for Python's)."""
    return canonicalize_name(name) if kind == "pip" else name


def plain_version(kind: str, version: str) -> str:
    """The version without what file names leave out: Debian's epoch, spellings of PEP 440."""
    if kind == "dpkg":
        return version.split(":", 1)[-1]
    return canonicalize_version(version)
