"""The small ecosystems, and the indexes that lead their clients to what is locked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airlock.kolla.apt_sources import MIRROR
from airlock.lock.demands import CLONE
from airlock.lock.ecosystem import Ecosystem
from airlock.lock.galaxy import Galaxy
from airlock.lock.gems import Gems
from airlock.lock.git_clones import GitClones, clone_place
from airlock.lock.grafana import GrafanaPlugins
from airlock.lock.image_index import image_artifacts, index_name
from airlock.lock.model import Artifact, Demand, Lock

FACTS = "ecosystems"
"""Name, in the witness's transcript, of what the indexes say of files: artifact id → facts."""

ECOSYSTEMS: tuple[Ecosystem, ...] = (Galaxy(), Gems(), GrafanaPlugins(), GitClones())


def room_indexes(lock: Lock, facts: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, Artifact]]:
    """(pages by relative name, files by the name they are served at) of every image's index.

    Args:
        facts: as ``FACTS`` has them.
    """
    by_kind = {ecosystem.kind: ecosystem for ecosystem in ECOSYSTEMS}
    pages: dict[str, bytes] = {}
    files: dict[str, Artifact] = {}
    for (_, _, kind, _), artifacts in image_artifacts(lock.demands, lock.by_id).items():
        place = index_name(kind, artifacts)
        index = by_kind[kind].index(artifacts, facts, f"{MIRROR}/{place}")
        pages |= {f"{place}/{name}": data for name, data in index.pages.items()}
        files |= {f"{place}/{name}": artifact for name, artifact in index.files.items()}
    return pages, files


def asked_indexes(demands: Iterable[Demand], addresses: Mapping[str, str]) -> dict[str, str]:
    """Name → address of the indexes that demands will be asked of, as far as factory.toml names them."""
    asked = list(demands)
    kinds = {demand.kind for demand in asked}
    names = [ecosystem.upstream for ecosystem in ECOSYSTEMS if ecosystem.kind in kinds]
    found = {name: addresses[name] for name in names if name in addresses}
    clones = [clone_place(demand.spec) for demand in asked if demand.kind == CLONE]
    return found | {name: addresses.get(name, address) for name, address, _ in clones}
