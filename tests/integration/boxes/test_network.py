"""A box in a network namespace that has loopback and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from boxes.box import read_started
from boxes.network import HOST, Network
from boxes.registry import Registry
from boxes.rest import Rest
from tests.small_boxes import Web

from airlock.core.errors import ToolError
from airlock.core.process import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")


def make(name: str) -> None:
    run(["ip", "netns", "add", name], check=True)
    run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)


@pytest.fixture
def network() -> Iterator[Network]:
    name = f"airlock-boxes-{os.getpid()}"
    make(name)
    yield Network(name)
    run(["ip", "netns", "delete", name], check=True)


def test_a_port_of_the_namespace_is_not_one_of_the_machine(tmp_path, network):
    port = HOST.free_port()
    with Web(tmp_path / "outside", port), Registry(tmp_path / "inside", port=port, network=network) as inside:
        assert Rest("registry", network, inside.address).call("GET", "/v2/").status == 200
        assert Rest("web", HOST, inside.address).ask("GET", "/v2/").status == 404
        started = read_started(inside.folder)
        assert started is not None
        assert Path(f"/proc/{started.process.pid}/ns/net").stat().st_ino == network.path.stat().st_ino
        assert network.holder(port).startswith("docker-registry (process")
    assert not network.port_taken(port)


def test_a_namespace_that_was_made_anew_gets_a_server_of_its_own(tmp_path, network):
    port = network.free_port()
    with Web(tmp_path, port, network) as box:
        first = box.process
        assert first is not None
        run(["ip", "netns", "delete", network.name], check=True)
        make(network.name)
        box.start()
        assert not first.alive
        assert network.accepts(port)


def test_a_namespace_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ToolError, match="no network namespace airlock-boxes-none") as caught:
        Web(tmp_path, 21099, Network("airlock-boxes-none")).start()
    assert "ip netns add" in caught.value.remedy
