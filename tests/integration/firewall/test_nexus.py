"""A factory with a Nexus of its own: it stays reachable while a window confines ``refresh``, and is no way out."""

from __future__ import annotations

import json

import pytest
from boxes.network import Network
from boxes.nexus import Nexus
from tests.window_lab import OTHER, body


@pytest.mark.parametrize("backend", ["nftables", "squid"])
def test_what_is_fetched_through_the_window_is_put_into_nexus(lab, factory, nexus_here, backend):
    repository = nexus_here.make_repository(f"factory-{backend}")
    upstreams = (
        '[upstreams.debian]\naddress = "http://mirror.example.org"\n'
        f'[artifacts]\nnexus = "{nexus_here.address}"\nrepository = "{repository.name}"\n'
        f'user = "{repository.importer.user}"\npassword_file = "{repository.importer.password_file}"\n'
    )
    here = factory(window=f'backend = "{backend}"', upstreams=upstreams)
    definition = here.locked({"one.tar": body(13, 300_000), "two.tar": body(14, 1000)})
    done = lab.run(*here.refresh_words(definition), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stored"] > 2
    (record,) = here.records()
    assert (record["state"], record["refused"], record["refused_names"]) == ("closed", [], [])
    assert [host["name"] for host in record["hosts"]] == ["mirror.example.org"]  # loopback is no host of a window
    assert all(proof["held"] for proof in record["proof"])
    again = lab.run(*here.refresh_words(definition), "--json")
    assert json.loads(again.stdout)["fetched"] == 0
    assert len(here.records()) == 1
    assert here.reach("tcp", OTHER, 443) == "refused"


@pytest.fixture(scope="module")
def nexus_here(one_lab, tmp_path_factory):
    """A real Nexus on the loopback of the machine that crosses."""
    network = Network(one_lab.here)
    box = Nexus(tmp_path_factory.mktemp("nexus") / "nexus", port=8081, network=network)
    box.start()
    yield box
    box.stop()
