"""Which index of the small ecosystems each image has in the room: called after the files that it offers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.kolla.apt_sources import MIRROR
from airlock.lock.demands import CLONE, NAMED
from airlock.lock.model import Artifact, Demand, Kind


def sealed_indexes(demands: Sequence[Demand], by_id: Mapping[str, Artifact]) -> dict[str, dict[str, tuple[str, int]]]:
    """Image → kind → (address of its index in the room, how many commands ask it), of one architecture."""
    count = Counter((demand.image, demand.kind) for demand in demands)
    found: dict[str, dict[str, tuple[str, int]]] = {}
    for (_, image, kind, _), artifacts in image_artifacts(demands, by_id).items():
        if kind != CLONE:
            found.setdefault(image, {})[kind] = (f"{MIRROR}/{index_name(kind, artifacts)}", count[image, kind])
    return found


def image_artifacts(
    demands: Iterable[Demand], by_id: Mapping[str, Artifact]
) -> dict[tuple[str, str, Kind, str], list[Artifact]]:
    """(architecture, image, kind, for a clone its words) → the locked files, by id."""
    found: dict[tuple[str, str, Kind, str], dict[str, Artifact]] = {}
    for demand in demands:
        if demand.kind in (*NAMED, CLONE):
            held = {ident: by_id[ident] for ident in demand.artifacts if ident in by_id}
            key = (demand.arch, demand.image, demand.kind, demand.spec if demand.kind == CLONE else "")
            found.setdefault(key, {}).update(held)
    return {key: [held[ident] for ident in sorted(held)] for key, held in sorted(found.items())}


def index_name(kind: str, artifacts: Sequence[Artifact]) -> str:
    """Relative name of the index that offers these files and no others."""
    files = sorted((artifact.file, artifact.sha256) for artifact in artifacts)
    return f"{kind}/{sha256_bytes(canonical(files))[:24]}"


def sealed_clones(demands: Sequence[Demand], by_id: Mapping[str, Artifact]) -> dict[str, dict[str, str]]:
    """Image → address that it clones → address of the same repository in the room, of one architecture."""
    found: dict[str, dict[str, str]] = {}
    for (_, image, kind, spec), artifacts in image_artifacts(demands, by_id).items():
        if kind == CLONE:
            url = spec.partition(" @ ")[0]
            name = quote(url.rstrip("/").rpartition("/")[2])
            found.setdefault(image, {})[url] = f"{MIRROR}/{index_name(kind, artifacts)}/{name}"
    return found
