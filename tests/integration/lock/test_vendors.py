"""Vendor repositories that are kept, against signed stand-ins: locked, fetched, proved, solved again offline."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.integration.faults.airlock_runs import CACHE, airlock, done
from tests.integration.kolla.conftest import kolla_environment
from tests.vendor_world import World, vendor_world

from airlock.kolla.environment import KollaEnvironment
from airlock.lock.files import load_lock
from airlock.lock.model import Lock

FACTORY = CACHE.parent / "vendors"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kolla = KollaEnvironment(kolla_environment("18.8.0"))
    with vendor_world(tmp_path_factory.mktemp("world"), FACTORY, kolla) as made:
        yield made


@pytest.fixture(scope="module")
def lock(world: World) -> Lock:
    done(airlock("lock", "--json", "--factory", FACTORY, world.definition, timeout=900))
    return load_lock(world.definition / "airlock.lock")


@pytest.mark.full
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("image", "taken"),
    [
        ("rabbitmq", {"rabbitmq-server": "rabbitmq 3.13.7-1", "erlang-base": "erlang-26 1:26.2.5.6-1"}),
        ("mariadb-base", {"mariadb-client": "mariadb 1:10.11.99+maria~deb12"}),
        ("mariadb-server", {"mariadb-server": "mariadb 1:10.11.99+maria~deb12", "expect": "debian 5.45.4-2+b1"}),
        ("influxdb", {"influxdb": "influxdb 1.8.10-1"}),
        ("telegraf", {"telegraf": "influxdb 1.33.0-1"}),
        ("fluentd", {"fluent-package": "fluentd 5.0.5-1"}),
        ("grafana", {"grafana": "grafana 11.4.0"}),
        ("opensearch", {"opensearch": "opensearch 2.18.0"}),
        ("opensearch-dashboards", {"opensearch-dashboards": "opensearch-dashboards 2.18.0"}),
        ("proxysql", {"proxysql": "proxysql 2.6.6-debian12"}),
    ],
)
def test_each_package_comes_from_the_vendor_that_kolla_means(
    lock: Lock, arch: str, image: str, taken: dict[str, str]
) -> None:
    by_id = lock.by_id
    found = {
        artifact.name: f"{artifact.upstream} {artifact.version}"
        for demand in lock.demands
        if (demand.image, demand.arch, demand.kind) == (image, arch, "apt")
        for artifact in (by_id[ident] for ident in demand.artifacts)
    }
    assert {name: found.get(name) for name in taken} == taken


@pytest.mark.full
def test_every_key_is_locked_and_only_those_of_kept_repositories(lock: Lock, world: World) -> None:
    asked = [demand for demand in lock.demands if demand.kind == "key" and demand.arch == "x86_64"]
    assert len(asked) == 8
    assert {demand.image for demand in asked} == {"base"}
    by_id = lock.by_id
    locked = {by_id[ident].name: by_id[ident] for demand in asked for ident in demand.artifacts}
    assert all(key.trust == "first-seen" and key.kind == "key" for key in locked.values())
    assert world.keys.fingerprint("erlang-ppa") in locked


@pytest.mark.full
def test_what_is_locked_is_fetched_and_proved_and_solved_again(lock: Lock, world: World) -> None:
    done(airlock("refresh", "--factory", FACTORY, world.definition, timeout=900))
    proof = json.loads(done(airlock("validate", "--json", "--factory", FACTORY, world.definition)).stdout)
    assert proof["gaps"] == []
    assert proof["images"] == lock.header.images
    assert (
        "the same bytes" in done(airlock("lock", "--check", "--factory", FACTORY, world.definition, timeout=900)).stdout
    )
