"""Debian's formats of source lists, one-line and deb822: what Kolla's files name, and where it leads in the room."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import FormatError

MIRROR = "http://mirror.airlock.internal"
"""The one constant address that builds see."""


class AptSource(msgspec.Struct, frozen=True):
    """One ``deb`` line.

    Attributes:
        upstream: name of the upstream, from the address's path (``…/debian-security`` → ``debian-security``), of a
            vendor's the name of the file that names it.
        address: the address as the file names it.
        suite: distribution (``bookworm-updates``); ends in a slash where the repository is flat.
        components: at least one, none of a flat repository.
        arches: Debian's names of the architectures whose packages are taken, where they are not the image's own.
        keyring: path in the image of the keys that may sign it; empty where the distribution's keys do.
    """

    upstream: str
    address: str
    suite: str
    components: tuple[str, ...]
    arches: tuple[str, ...] = ()
    keyring: str = ""

    @property
    def words(self) -> str:
        """Suite and components as a line has them."""
        return " ".join((self.suite, *self.components))

    @property
    def sealed_line(self) -> str:
        """The same line as builds in the room see it."""
        return f"deb [trusted=yes] {MIRROR}/apt/{self.upstream} {self.words}"

    def place(self, component: str) -> str:
        """What the lock calls the index of a component: ``<suite>/<component>``; the suite alone where it is flat."""
        return f"{self.suite}/{component}" if component else self.suite


def is_flat(suite: str) -> bool:
    """Whether a repository has no ``dists``: its suite is a folder (sources.list(5))."""
    return suite.endswith("/")


def upstream_name(address: str, suite: str = "") -> str:
    """Name of the upstream at an address: its path, or where that is empty its host, as one word.

    Ubuntu's archive and its cloud archive have the same path: where a suite is of two words (``jammy-updates/caracal``)
    the name is the first word of the host. Behind a list of mirrors is one archive, called like the domain of the list.
    """
    parts = urlsplit(address)
    host = (parts.hostname or "").split(".")
    if is_mirror_list(address) and len(host) > 1:
        return host[-2]
    if "/" in suite.rstrip("/"):
        return host[0]
    return re.sub(r"[^a-z0-9]+", "-", (parts.path.strip("/") or parts.hostname or "").lower()).strip("-")


def is_mirror_list(address: str) -> bool:
    """Whether what is at an address is a list of mirrors (apt-transport-mirror(1)), no archive."""
    return urlsplit(address).scheme.partition("+")[0] == "mirror"


def parse_source_file(path: str, text: str) -> list[AptSource]:
    """Read a file of ``/etc/apt``, in the format that its name says.

    Raises:
        FormatError: see ``parse_sources_list`` and ``parse_deb822``.
    """
    return parse_deb822(text, path) if path.endswith(".sources") else parse_sources_list(text, path)


def parse_sources_list(text: str, name: str = "sources.list") -> list[AptSource]:
    """Read the ``deb`` lines (see sources.list(5)); comments and ``deb-src`` are passed over.

    Raises:
        FormatError: a line of another type or form; options in brackets other than ``arch=`` are dropped.
    """
    found: list[AptSource] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"\[[^]]*\]", "", raw.split("#", 1)[0])
        words = line.split()
        if not words or words[0] == "deb-src":
            continue
        if words[0] != "deb" or len(words) < 4:
            raise FormatError(f"{name}, line {number}: not a deb line: {raw.strip()!r}")
        address = words[1].rstrip("/")
        found.append(AptSource(upstream_name(address, words[2]), address, words[2], tuple(words[3:])))
    return found


_DEB822 = {"types", "uris", "suites", "components", "architectures", "signed-by", "enabled"}


def parse_deb822(text: str, path: str) -> list[AptSource]:
    """Read the stanzas of a ``.sources`` file; the upstream is called as the file is (``grafana.sources``), that of
    ``extrepo_NAME.sources`` by the name that extrepo knows it by.

    Raises:
        FormatError: a field that is not known (it could mean anything to apt), one that is missing, or no key.
    """
    name = PurePosixPath(path).name.removesuffix(".sources").removeprefix("extrepo_")
    found: list[AptSource] = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)):
        if not stanza.strip():
            continue
        values = _values(stanza, path)
        if unknown := sorted(values.keys() - _DEB822):
            raise FormatError(f"{path}: the field {unknown[0]!r} of a source is not known")
        if values.get("enabled", "yes") == "no" or "deb" not in values.get("types", "").split():
            continue
        keyring = values.get("signed-by", "")
        if not keyring.startswith("/") or len(keyring.split()) != 1:
            raise FormatError(f"{path}: a source without the file of its key (Signed-By: /…)")
        suites, components = values.get("suites", "").split(), tuple(values.get("components", "").split())
        if not suites or not all(bool(components) != is_flat(suite) for suite in suites):
            raise FormatError(f"{path}: a source without suite or components, or a flat one with components")
        arches = tuple(values.get("architectures", "").split())
        for address in values.get("uris", "").split():
            for suite in suites:
                place = "/" if suite == "./" else suite
                found.append(AptSource(name, address.rstrip("/"), place, components, arches, keyring))
    return found


def _values(stanza: str, path: str) -> dict[str, str]:
    values: dict[str, str] = {}
    last = ""
    for line in stanza.splitlines():
        if line[:1] in (" ", "\t") and last:
            values[last] += " " + line.strip()
            continue
        last, colon, value = line.partition(":")
        last = last.strip().lower()
        if not colon or last in values:
            raise FormatError(f"{path}: not a source: {line.strip()!r}")
        values[last] = value.strip()
    return values


def seal_sources_list(text: str, name: str = "sources.list") -> str:
    """The same file for the room: every ``deb`` line leads to the mirror, everything else is dropped."""
    return "".join(source.sealed_line + "\n" for source in parse_sources_list(text, name))
