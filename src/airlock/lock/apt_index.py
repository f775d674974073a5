"""The apt indexes of a lock: Release and Packages that list the locked .debs and nothing else.

They are a pure function of their inputs: no clock, no compressor whose output may change from one version to the next.
Builds take them with ``[trusted=yes]``: what makes them trustworthy is the bundle's manifest, not a signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from airlock.kolla.apt_sources import AptSource, is_flat
from airlock.lock.apt_catalogue import RELEASE_FIELDS
from airlock.lock.apt_root import merge_sources
from airlock.lock.apt_text import with_field
from airlock.lock.model import Artifact

# apt wants a Date, compares it with that of the Release it had before, and refuses one that lies ahead of the
# machine's clock: a constant from the past is right wherever the clock of a site stands.
_DATE = "Sat, 01 Jan 2000 00:00:00 UTC"


def pool_filename(artifact: Artifact) -> str:
    """Where a .deb is found below an upstream's address in the room."""
    return f"pool/{artifact.sha256[:2]}/{artifact.sha256}/{artifact.file}"


def apt_indexes(
    artifacts: Iterable[Artifact],
    stanzas: Mapping[str, str],
    sources: Sequence[AptSource],
    releases: Mapping[str, Mapping[str, str]],
    arches: Sequence[str] = (),
) -> dict[str, bytes]:
    """Indexes by relative name: ``apt/<upstream>/dists/<suite>/Release`` and ``…/<component>/binary-<arch>/Packages``.

    A flat repository has ``apt/<upstream>/<suite>Release`` and ``Packages`` beside it.

    Every suite and component of every source is there, even when nothing of it is locked, as a client would fail
    without. Packages is not compressed: it is small, and a client takes what Release lists.

    Args:
        artifacts: of the lock; others than .debs are passed over.
        stanzas: artifact id → its stanza of upstream's Packages; all fields but Filename stay as they are.
        sources: every source that an image may enable.
        releases: ``<upstream>/<suite>`` → the fields of upstream's Release that pins look at.
        arches: Debian's names of the architectures; default those of the artifacts.

    Raises:
        KeyError: an artifact without a stanza.
    """
    debs = sorted((artifact for artifact in artifacts if artifact.kind == "deb"), key=lambda deb: (deb.name, deb.id))
    wanted = sorted({*arches, *(deb.arch for deb in debs if deb.arch != "all" and not arches)})
    indexes: dict[str, bytes] = {}
    for source in merge_sources(sources):
        flat = is_flat(source.suite)
        folder = f"apt/{source.upstream}/{source.suite if flat else f'dists/{source.suite}'}".rstrip("/")
        packages: dict[str, bytes] = {}
        named = sorted({*wanted, *source.arches})
        for component in source.components or ("",):
            place = (source.upstream, source.place(component))
            listed = [
                (deb.arch, with_field(stanzas[deb.id], "Filename", pool_filename(deb)) + "\n")
                for deb in debs
                if (deb.upstream, deb.suite) == place
            ]
            if flat:
                packages["Packages"] = "".join(text for _, text in listed).encode()
                continue
            for arch in named:
                text = "".join(text for own, text in listed if own in (arch, "all"))
                packages[f"{component}/binary-{arch}/Packages"] = text.encode()
        fields = releases.get(f"{source.upstream}/{source.suite}", {})
        indexes[f"{folder}/Release"] = _release(source, fields, named, packages)
        indexes |= {f"{folder}/{name}": data for name, data in packages.items()}
    return dict(sorted(indexes.items()))


def _release(
    source: AptSource, fields: Mapping[str, str], arches: Sequence[str], packages: Mapping[str, bytes]
) -> bytes:
    lines = [f"{name}: {fields[name]}" for name in RELEASE_FIELDS if fields.get(name)]
    if not {"Suite", "Codename"} & fields.keys():
        lines.append(f"Codename: {source.suite}")
    lines += [f"Date: {_DATE}", f"Architectures: {' '.join(arches)}"]
    if source.components:
        lines.append(f"Components: {' '.join(source.components)}")
    lines.append("SHA256:")
    for name, data in sorted(packages.items()):
        lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}")
    return ("\n".join(lines) + "\n").encode()
