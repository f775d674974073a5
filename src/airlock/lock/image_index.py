"""Which index of the small ecosystems each image has in the room: called after the files that it offers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.kolla.apt_sources import MIRROR
from airlock.lock.demands import NAMED
from airlock.lock.model import Artifact, Demand, Kind


def sealed_indexes(demands: Sequence[Demand], by_id: Mapping[str, Artifact]) -> dict[str, dict[str, tuple[str, int]]]:
    """Image → kind → (address of its index in the room, how many commands ask it), of one architecture."""
    count = Counter((demand.image, demand.kind) for demand in demands)
    found: dict[str, dict[str, tuple[str, int]]] = {}
    for (_, image, kind), artifacts in image_artifacts(demands, by_id).items():
        found.setdefault(image, {})[kind] = (f"{MIRROR}/{index_name(kind, artifacts)}", count[image, kind])
    return found


def image_artifacts(
    demands: Iterable[Demand], by_id: Mapping[str, Artifact]
) -> dict[tuple[str, str, Kind], list[Artifact]]:
    """(architecture, image, kind) → the locked files, by id."""
    found: dict[tuple[str, str, Kind], dict[str, Artifact]] = {}
    for demand in demands:
        if demand.kind in NAMED:
            held = {ident: by_id[ident] for ident in demand.artifacts if ident in by_id}
            found.setdefault((demand.arch, demand.image, demand.kind), {}).update(held)
    return {key: [held[ident] for ident in sorted(held)] for key, held in sorted(found.items())}


def index_name(kind: str, artifacts: Sequence[Artifact]) -> str:
    """Relative name of the index that offers these files and no others."""
    files = sorted((artifact.file, artifact.sha256) for artifact in artifacts)
    return f"{kind}/{sha256_bytes(canonical(files))[:24]}"
