"""Images that take packages from vendors' repositories are built in the sealed room, from what is locked alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import CACHE, airlock, done
from tests.integration.kolla.conftest import kolla_environment
from tests.site_build import built_at_site, bundled
from tests.vendor_world import vendor_world

from airlock.kolla.environment import KollaEnvironment

FACTORY = CACHE.parent / "vendors"


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="a sealed room wants root")
def test_a_keyring_by_gpg_keys_by_curl_and_packages_of_vendors_are_in_the_images(tmp_path: Path) -> None:
    """influxdb from a repository with suites, proxysql from a flat one; base receives RabbitMQ's key by gpg."""
    kolla = KollaEnvironment(kolla_environment("18.8.0"))
    kept = ["influxdb", "proxysql", "rabbitmq", "erlang-26", "erlang-27"]
    keys = ["erlang-ppa.gpg", "influxdb.asc", "proxysql.asc", "rabbitmq.gpg"]
    # Every key is there and one that apt's verifier can read; rabbitmq's repository is enabled in no image here.
    shown = " && ".join(f"gpg --show-keys /etc/kolla/apt-keys/{name}" for name in keys)
    checks = (
        "[checks]\n"
        f'base = ["sh", "-ec", "{shown}"]\n'
        'influxdb = ["grep", "-x", "1.8.10-1", "/usr/share/stand-in/influxdb"]\n'
        'proxysql = ["grep", "-x", "2.6.6-debian12", "/usr/share/stand-in/proxysql"]\n'
    )
    with vendor_world(
        tmp_path / "world", FACTORY, kolla, images=["influxdb", "proxysql"], kept=kept, arches=("x86_64",),
        tables=checks,
    ) as world:  # fmt: skip
        done(airlock("lock", "--factory", FACTORY, world.definition, timeout=900))
        done(airlock("refresh", "--factory", FACTORY, world.definition, timeout=900))
        bundle = bundled(world.definition, FACTORY, tmp_path)
    record = built_at_site(bundle, tmp_path)
    packages = {one["name"]: {found["name"] for found in one["packages"]} for one in record["images"]}
    assert "influxdb" in packages["influxdb"]
    assert "proxysql" in packages["proxysql"]
    served = {one["path"].rpartition("/")[2] for one in record["served"]}
    assert {"influxdb_1.8.10-1_amd64.deb", "proxysql_2.6.6-debian12_amd64.deb"} <= served
    assert sum(name.endswith(".asc") for name in served) >= 2
