"""Every image of Kolla for Debian, locked once a run, with stand-ins for all that cannot be reached here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.all_world import all_world
from tests.integration.faults.airlock_runs import CACHE, airlock, done
from tests.integration.kolla.conftest import kolla_environment
from tests.vendor_world import World

from airlock.kolla.environment import KollaEnvironment
from airlock.lock.files import load_lock
from airlock.lock.model import Lock

FACTORY = CACHE.parent / "all-stand-ins"
"""Kept from run to run, for its pool."""


@pytest.fixture(scope="session")
def whole_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kolla = KollaEnvironment(kolla_environment("18.8.0"))
    with all_world(tmp_path_factory.mktemp("whole"), FACTORY, kolla) as made:
        yield made


@pytest.fixture(scope="session")
def whole_lock(whole_world: World) -> Lock:
    """Locked and fetched."""
    done(airlock("lock", "--factory", FACTORY, whole_world.definition, timeout=1800))
    done(airlock("refresh", "--factory", FACTORY, whole_world.definition, timeout=1800))
    return load_lock(whole_world.definition / "airlock.lock")


@pytest.fixture(scope="session")
def dockerfiles() -> set[str]:
    """Every image that Kolla has, by the folder of its template."""
    share = kolla_environment("18.8.0").parents[1] / "share/kolla/docker"
    return {Path(path).parent.name for path in share.rglob("Dockerfile.j2")}
