"""Every image of Kolla for Debian x86_64 but those that nothing can foresee: locked, fetched, proved, locked again.

Debian's archive and the package index are real. All else is a stand-in on loopback, and marked as one.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from tests.all_world import ARCH, EXAMPLE, UNFORESEEN, beyond_keys
from tests.integration.faults.airlock_runs import airlock, done
from tests.vendor_world import World

from airlock.lock.model import Lock
from airlock.lock.stand_ins import proven
from airlock.lock.survey import ancestry, parents_of

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def proof(whole_world: World, whole_lock: Lock) -> dict[str, Any]:
    assert whole_lock.header.images > 0
    answer: dict[str, Any] = json.loads(
        done(airlock("validate", "--json", "--factory", whole_world.factory, whole_world.definition)).stdout
    )
    return answer


def test_every_image_that_kolla_has_is_locked_or_left_out_with_its_reason(
    proof: dict[str, Any], whole_lock: Lock, dockerfiles: set[str]
) -> None:
    left_out = proof["left_out"][ARCH]
    locked = {image.name for image in whole_lock.images}
    assert locked | left_out.keys() == dockerfiles
    assert not locked & left_out.keys()
    assert set(UNFORESEEN) <= left_out.keys()
    assert all("playbook" in reason for reason in left_out.values())


def test_no_command_is_unclassified(whole_world: World) -> None:
    readings = whole_world.gathered[ARCH].readings
    assert [command for reading in readings.values() for command in reading.unclassified] == []
    assert sum(len(reading.commands) for reading in readings.values()) > 1000


def test_nothing_is_missing_and_the_report_says_what_stands_on_stand_ins(
    proof: dict[str, Any], whole_lock: Lock
) -> None:
    assert proof["gaps"] == []
    assert proof["images"] == len(whole_lock.images)
    said = proven(whole_lock)
    print(said)
    # base holds the vendors' keys, and every image is built on base.
    assert (said.real, said.stand_ins) == (0, len(whole_lock.images))
    assert (proof["proven"]["real"], proof["proven"]["stand_ins"]) == (said.real, said.stand_ins)
    assert {image["state"] for image in proof["report"]["images"]} == {"stand-in"}


def test_beyond_bases_keys_stand_ins_answer_exactly_what_the_example_leaves_out(whole_lock: Lock) -> None:
    """So the images that the example locks take nothing else from a stand-in."""
    out = tomllib.loads((EXAMPLE / "release.toml").read_text())["leave_out"]
    parents = parents_of(whole_lock)
    expected = {key[1] for key in parents if any(one[1] in out for one in ancestry(parents, key))}
    beyond = beyond_keys(whole_lock)
    print(
        f"{len(parents) - len(beyond)} images on real inputs but for the keys in base, {len(beyond)} on more stand-ins"
    )
    assert beyond.keys() == expected


def test_each_kind_of_upstream_out_of_reach_has_its_stand_in(whole_world: World, whole_lock: Lock) -> None:
    marked = {found.upstream for found in whole_lock.artifacts if found.stand_in}
    assert whole_world.repositories.keys() <= marked
    assert {"galaxy", "rubygems", "grafana-plugins", "github-com", "get-helm-sh"} <= marked
    kinds = {found.kind for found in whole_lock.artifacts if found.stand_in}
    assert kinds == {"deb", "file", "galaxy", "gem", "grafana-plugin", "key", "source"}
    asked = set(whole_world.upstreams.asked)
    assert whole_world.upstreams.moved.keys() <= asked, "every release was asked for where it is redirected"


def test_solved_again_offline_all_of_it_comes_out_the_same(whole_world: World, whole_lock: Lock) -> None:
    result = done(airlock("lock", "--check", "--factory", whole_world.factory, whole_world.definition, timeout=1800))
    assert "the same bytes" in result.stdout
