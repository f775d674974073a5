"""Python distributions that .debs put into the system's site-packages, which a venv with system packages sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.parser import HeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name

from airlock.core.errors import FormatError, IntegrityError
from airlock.fetch.witness import Witness
from airlock.lock.apt_text import split_fields
from airlock.lock.deb_files import read_deb_files
from airlock.lock.model import Artifact
from airlock.store.pool import Pool

# Debian's layout (Debian Python Policy, "Paths"); .egg-info is a file or a folder.
_METADATA = re.compile(
    r"\.?/?usr/lib/python3(\.\d+)?/dist-packages/[^/]+\.(dist-info/METADATA|egg-info/PKG-INFO|egg-info)"
)


def python_debs(artifacts: Iterable[Artifact], stanzas: Mapping[str, str]) -> list[Artifact]:
    """Those .debs that may hold Python distributions: called ``python3…``, or depending on python3."""
    return sorted((deb for deb in artifacts if deb.kind == "deb" and _is_python(deb, stanzas)), key=lambda deb: deb.id)


def _is_python(deb: Artifact, stanzas: Mapping[str, str]) -> bool:
    if deb.name.startswith("python3"):
        return True
    texts = [
        text.partition(":")[2] for name, text in split_fields(stanzas[deb.id]) if name in ("depends", "pre-depends")
    ]
    names = {re.split(r"[\s:(]", word.strip(), maxsplit=1)[0] for text in texts for word in re.split(r"[,|]", text)}
    return any(re.fullmatch(r"python3(\.\d+)?(-minimal)?", name) for name in names)


async def fetch_debs(debs: Iterable[Artifact], witness: Witness, pool: Pool) -> None:
    """Bring .debs that must be read while locking into the pool, so that ``refresh`` finds them there.

    Raises:
        GoneError, UpstreamError: see ``Witness.get``.
        IntegrityError: upstream serves other bytes than its signed index says.
    """
    for deb in debs:
        # Asked for even when the pool has it: the transcript must not depend on what was locked before.
        await witness.get(deb.upstream, deb.path)
        if not pool.has(deb.sha256, deb.size):
            raise IntegrityError(
                f"{deb.id}: upstream {deb.upstream} serves other bytes at {deb.path} than its signed index lists",
                remedy="Try another mirror under [upstreams] in factory.toml.",
            )


def python_dists(debs: Iterable[Artifact], pool: Pool) -> dict[str, str]:
    """Normalised project name → version of every distribution that the .debs put into dist-packages.

    Args:
        debs: in the pool; others than those that ``python_debs`` names hold none.

    Raises:
        IntegrityError: a .deb is not in the pool, or not whole.
        FormatError: it cannot be unpacked, or a distribution has no name or version.
    """
    found: dict[str, str] = {}
    for deb in debs:
        problem = pool.check(deb.sha256, deb.size)
        if problem:
            raise IntegrityError(f"{deb.id} in the pool: {problem}", remedy="Run `airlock refresh`.")
        for name, version in deb_dists(pool.path(deb.sha256), deb.id).items():
            found.setdefault(name, version)
    return dict(sorted(found.items()))


def deb_dists(path: Path, ident: str) -> dict[str, str]:
    """The distributions of one .deb, read from its data archive as dpkg-deb(1) unpacks it; nothing is written.

    Raises:
        FormatError: see ``python_dists``.
    """
    found = read_deb_files(path, ident, _METADATA.fullmatch)
    return dict(metadata_identity(data, f"{ident}, {name}") for name, data in found.items())


def metadata_path(path: str) -> bool:
    """Whether a path in an image (relative to its root) is the metadata of a distribution in dist-packages."""
    return bool(_METADATA.fullmatch(path.replace("usr/local/", "usr/", 1)))


def metadata_identity(data: bytes, where: str) -> tuple[str, str]:
    """Normalised project name and version, as a distribution's metadata say.

    Raises:
        FormatError: they name none.
    """
    message = HeaderParser().parsestr(data.decode("utf-8", "replace"))
    name, version = message.get("Name"), message.get("Version")
    if not name or not version:
        raise FormatError(f"{where} has no name or version")
    return canonicalize_name(name), version.strip()
