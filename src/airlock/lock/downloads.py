"""Files that a RUN fetches by ``curl`` or ``wget``, each from an upstream named after its host (docs/ecosystems)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from pathlib import PurePosixPath
from urllib.parse import quote

import msgspec

from airlock.core.paths import safe_component
from airlock.fetch.witness import Witness
from airlock.kolla.apt_sources import MIRROR
from airlock.lock.model import Artifact, Demand, first_seen
from airlock.lock.shortfall import Shortfall
from airlock.lock.sources_fetch import fetch
from airlock.lock.sources_names import split_address


class DownloadsResult(msgspec.Struct, frozen=True):
    """Files of one architecture.

    Attributes:
        demands: one an image, line and address, answered.
        upstreams: name → address of those that the Dockerfiles name.
    """

    demands: tuple[Demand, ...]
    artifacts: tuple[Artifact, ...]
    upstreams: dict[str, str]

    @property
    def by_address(self) -> dict[str, Artifact]:
        """Address in a Dockerfile → the file that was there."""
        by_id = {artifact.id: artifact for artifact in self.artifacts}
        return {demand.spec: by_id[ident] for demand in self.demands for ident in demand.artifacts}


async def resolve_downloads(
    asked: Iterable[Demand], witness: Witness, settled: Container[str], shortfall: Shortfall
) -> DownloadsResult:
    """Answer every ``file`` demand of an architecture.

    Args:
        asked: demands of all kinds, without answers.
        settled: names of upstreams whose address stands in the factory's settings.
        shortfall: is told of images whose files cannot be had.

    Raises:
        UpstreamError, GoneError: an upstream fails, or has no such file.
    """
    demands: list[Demand] = []
    artifacts: dict[str, Artifact] = {}
    upstreams: dict[str, str] = {}
    for demand in asked:
        if demand.kind != "file":
            continue
        upstream, address, path = split_address(demand.spec, "")
        upstreams[upstream] = address
        if upstream not in settled:
            witness.add_upstream(upstream, address)
        with shortfall.of(demand.image):
            sha256, size = await fetch(witness, upstream, path, demand.where)
            found = file_artifact(upstream, path, sha256, size)
            artifacts[found.id] = found
            demands.append(msgspec.structs.replace(demand, artifacts=(found.id,)))
    return DownloadsResult(tuple(demands), tuple(artifacts.values()), upstreams)


def asked_downloads(demands: Iterable[Demand], known: Mapping[str, str]) -> dict[str, str]:
    """Name → address of the upstreams that files will be asked of."""
    places = [split_address(demand.spec, "") for demand in demands if demand.kind == "file"]
    return {name: known.get(name, address) for name, address, _ in places}


def file_artifact(upstream: str, path: str, sha256: str, size: int) -> Artifact:
    """The artifact of one file below an upstream."""
    file = safe_component(PurePosixPath(path.partition("?")[0]).name)
    found = first_seen("file", file, upstream, path, sha256, size, name=file)
    # many upstreams, and no telling what they call alike
    return msgspec.structs.replace(found, id=f"{found.id}#{sha256[:8]}")


def pool_address(file: Artifact) -> str:
    """Where the room has a locked file."""
    return f"{MIRROR}/pool/{file.sha256[:2]}/{file.sha256}/{quote(file.file)}"


def sealed_files(demands: Iterable[Demand], by_id: Mapping[str, Artifact]) -> dict[str, dict[str, str]]:
    """Image → address in its Dockerfile → address of the same file in the room."""
    found: dict[str, dict[str, str]] = {}
    for demand in demands:
        for ident in demand.artifacts if demand.kind == "file" else ():
            if (file := by_id.get(ident)) is not None:
                found.setdefault(demand.image, {})[demand.spec] = pool_address(file)
    return found
