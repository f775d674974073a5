"""What apt's lists offer: the stanza, hash and place of a package that apt has chosen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence

import msgspec

from airlock.core.errors import IntegrityError, ResolutionError
from airlock.core.paths import safe_relative
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_root import Target
from airlock.lock.apt_text import fields
from airlock.lock.model import Artifact, artifact_id

_PACKAGE = re.compile(rb"^Package: ([^\n]+)", re.MULTILINE)
RELEASE_FIELDS = ("Origin", "Label", "Suite", "Codename", "Version", "NotAutomatic", "ButAutomaticUpgrades")


class Offer(msgspec.Struct, frozen=True):
    """One package of one index: artifact and stanza."""

    artifact: Artifact
    stanza: str


class Catalogue:
    """All Packages files of one private root, found by name.

    Args:
        targets: the files; where two list the same file, the first names it.
        idents: (sha256, upstream) → id, where ids were given before (by the lock, for another architecture); otherwise
            the id follows from the file's name.
    """

    def __init__(self, targets: Sequence[Target], idents: Mapping[tuple[str, str], str] | None = None) -> None:
        self._idents = dict(idents or {})
        self._taken = {ident: owner for owner, ident in self._idents.items()}
        self._files: list[tuple[AptSource, str, bytes, dict[str, list[int]]]] = []
        self.releases: dict[str, dict[str, str]] = {}
        for target in targets:
            data = target.packages.read_bytes() if target.packages.exists() else b""
            places: dict[str, list[int]] = {}
            for match in _PACKAGE.finditer(data):
                places.setdefault(match[1].decode("utf-8", "replace").strip(), []).append(match.start())
            self._files.append((target.source, target.component, data, places))
            name = f"{target.source.upstream}/{target.source.suite}"
            self.releases[name] = release_fields(target.release.read_bytes())

    def find(self, name: str, version: str, arch: str, sources: Collection[AptSource]) -> Offer:
        """The package that apt means by name, version and architecture.

        Args:
            sources: those in force; no other can be meant.

        Raises:
            ResolutionError: two sources offer different files as the same version.
            IntegrityError: it is listed without a sha256, or not at all.
        """
        wanted = (version, arch)
        places = {(source.upstream, source.place(part)) for source in sources for part in source.components or ("",)}
        offers = [
            offer
            for offer in self._named(name)
            if (offer.artifact.version, offer.artifact.arch) == wanted
            and (offer.artifact.upstream, offer.artifact.suite) in places
        ]
        if not offers:
            raise IntegrityError(f"apt chose {name} {version} [{arch}], which no index lists with a sha256")
        if len({offer.artifact.sha256 for offer in offers}) > 1:
            both = ", ".join(f"{offer.artifact.upstream} {offer.artifact.suite}" for offer in offers)
            raise ResolutionError(
                f"{both} offer different files as {name} {version} [{arch}]",
                remedy="Leave one of the sources out, or pin the package to one of them.",
            )
        return offers[0]

    def nearest(self, name: str) -> list[str]:
        """Up to three names like this one."""
        names = {known for _, _, _, places in self._files for known in places}
        return difflib.get_close_matches(name, names, n=3, cutoff=0.75)

    def offering(self, name: str) -> set[str]:
        """The upstreams that have a package of that name."""
        return {source.upstream for source, _, _, places in self._files if name in places}

    def _named(self, name: str) -> list[Offer]:
        offers: list[Offer] = []
        for source, component, data, places in self._files:
            for start in places.get(name, ()):
                end = data.find(b"\n\n", start)
                stanza = data[start : len(data) if end < 0 else end + 1].decode("utf-8", "replace")
                offer = _offer(source, component, stanza)
                if offer is not None:
                    offers.append(offer)
        return [self._identify(offer, offers) for offer in offers]

    def _identify(self, offer: Offer, others: Sequence[Offer]) -> Offer:
        """Two files of one name (an epoch apart, or of two upstreams) differ by their hash in the id.

        One file that two upstreams have for one architecture each (Ubuntu's archive and ports, architecture ``all``) is
        an artifact of each: the second one's id tells its upstream.
        """
        artifact = offer.artifact
        owner = (artifact.sha256, artifact.upstream)
        ident = self._idents.get(owner, "")
        if not ident:
            namesakes = {other.artifact.sha256 for other in others if other.artifact.file == artifact.file}
            ident = artifact.id if len(namesakes) == 1 else f"{artifact.id}#{artifact.sha256[:8]}"
            if self._taken.get(ident, owner) != owner:
                ident = f"{ident}@{artifact.upstream}"
        return Offer(msgspec.structs.replace(artifact, id=ident), offer.stanza)


def _offer(source: AptSource, component: str, stanza: str) -> Offer | None:
    values = fields(stanza)
    if not all(values.get(key) for key in ("package", "version", "architecture", "filename", "size", "sha256")):
        return None
    path = values["filename"].removeprefix("./")
    try:
        file = safe_relative(path).name
    except IntegrityError as error:
        raise IntegrityError(
            f"{source.upstream} {source.place(component)} lists {values['package']} {values['version']} at an "
            f"{error.message}",
            remedy="Do not trust this repository; nothing was written.",
        ) from None
    artifact = Artifact(
        id=artifact_id("deb", file),
        kind="deb",
        name=values["package"],
        version=values["version"],
        arch=values["architecture"],
        file=file,
        sha256=values["sha256"].lower(),
        size=int(values["size"]),
        upstream=source.upstream,
        path=path,
        trust="signed-index",
        suite=source.place(component),
    )
    return Offer(artifact, stanza)


def release_fields(data: bytes) -> dict[str, str]:
    """The fields of a Release that apt's pins can name (apt_preferences(5))."""
    text = data.decode("utf-8", "replace").replace("\r", "")
    if text.startswith("-----BEGIN PGP SIGNED MESSAGE-----"):
        text = text.partition("\n\n")[2].partition("-----BEGIN PGP SIGNATURE-----")[0]
    found = fields(text)
    return {name: found[name.lower()] for name in RELEASE_FIELDS if found.get(name.lower())}
