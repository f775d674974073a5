"""Vendors that cannot be had: with --keep-going the images that enable them are refused, and nothing else is."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.faults.airlock_runs import CACHE, airlock
from tests.integration.kolla.conftest import kolla_environment
from tests.vendor_world import World, copy_of, vendor_world

from airlock.kolla.environment import KollaEnvironment

FACTORY = CACHE.parent / "vendors-lost"
KEPT = ["influxdb", "proxysql", "rabbitmq"]
EVERYWHERE = """
{%% block base_footer %%}
%s
RUN apt-get update
{%% endblock %%}
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kolla = KollaEnvironment(kolla_environment("18.8.0"))
    images = ["influxdb", "telegraf", "proxysql", "cron"]
    folder = tmp_path_factory.mktemp("world")
    with vendor_world(folder, FACTORY, kolla, images=images, kept=KEPT, arches=("x86_64",)) as made:
        yield made


def refused(world: World, settings: str, definition: Path | None = None) -> dict[str, Any]:
    """What ``--keep-going`` refuses, by image, with these settings."""
    factory = world.factory / "factory.toml"
    before = factory.read_text()
    factory.write_text(settings)
    try:
        ended = airlock(
            "lock", "--keep-going", "--json", "--factory", FACTORY, definition or world.definition, timeout=900
        )
    finally:
        factory.write_text(before)
    assert ended.returncode == 5, ended.stderr
    return {one["image"]: one for one in json.loads(ended.stdout)["refused"]}


def moved(world: World, upstream: str, address: str) -> str:
    """The factory's settings with another address of an upstream."""
    text = (world.factory / "factory.toml").read_text()
    head, _, rest = text.partition(f'[upstreams."{upstream}"]\naddress = "')
    return f'{head}[upstreams."{upstream}"]\naddress = "{address}"{rest.partition(chr(34))[2]}'


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_images_that_enable_a_repository_that_is_down_are_refused_and_no_others(world: World, nobody: str) -> None:
    found = refused(world, moved(world, "influxdb", nobody))
    assert sorted(found) == ["influxdb", "telegraf"]
    for image, one in found.items():
        (reason,), (remedy,) = one["reasons"], one["remedies"]
        assert f"image {image} (x86_64) enables the vendor repository influxdb, which cannot be had" in reason
        assert nobody in reason
        assert "take influxdb out of vendor_repositories, and leave out the images" in remedy


def test_without_keep_going_the_first_such_error_ends_it(world: World, nobody: str) -> None:
    factory = world.factory / "factory.toml"
    before = factory.read_text()
    factory.write_text(moved(world, "influxdb", nobody))
    try:
        ended = airlock("lock", "--factory", FACTORY, world.definition, timeout=900)
    finally:
        factory.write_text(before)
    assert ended.returncode == 6
    assert "influxdb" in ended.stderr


def test_a_repository_of_an_unknown_signer_is_refused_likewise(world: World) -> None:
    world.publish("proxysql", signer="rabbitmq")
    try:
        found = refused(world, (world.factory / "factory.toml").read_text())
    finally:
        world.publish("proxysql")
    assert list(found) == ["proxysql"]
    assert "signs with another key" in found["proxysql"]["remedies"][0]


def test_a_lost_key_is_missed_by_those_who_enable_its_repository(world: World) -> None:
    demand = next(one for one in world.gathered["x86_64"].demands if one.kind == "key" and "influx" in one.spec)
    name = next(
        line.split('"')[1]
        for line in (world.factory / "factory.toml").read_text().splitlines()
        if "influx" in line and "repos" in line
    )
    found = refused(world, moved(world, name, world.upstreams.address + "/nowhere"))
    assert sorted(found) == ["influxdb", "telegraf"], demand
    assert "the key of the vendor repository influxdb: " in found["telegraf"]["reasons"][0]


def test_a_repository_that_base_enables_refuses_everything_and_says_so_once(
    world: World, nobody: str, tmp_path: Path
) -> None:
    definition = copy_of(world, tmp_path / "definition")
    lines = world.gathered["x86_64"].tree.by_name["influxdb"].dockerfile.decode().splitlines()
    enable = next(line for line in lines if "influxdb.sources" in line)
    with (definition / "stand-ins.j2").open("a") as file:
        file.write(EVERYWHERE % enable)
    settings = moved(world, "influxdb", nobody)
    found = refused(world, settings, definition)
    assert [one["image"] for one in found.values() if not one["parent"]] == ["base"]
    assert {"base", "cron", "influxdb", "telegraf", "proxysql"} <= found.keys()
