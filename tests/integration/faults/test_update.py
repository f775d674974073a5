"""Upstream moves, the lock does not: a plain ``lock`` stays as it is, ``--update NAME`` moves what is named alone, and
says what; solved again offline, each comes out the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.faults.airlock_runs import airlock, done, refused
from tests.integration.faults.conftest import Define
from tests.integration.faults.upstreams import Upstreams

from airlock.lock.files import load_lock
from airlock.lock.model import Lock

USAGE = 2
HELD_BACK = (
    "jinja2",
    "requests",
)  # of Kolla's own requirements and the engine's client: not pinned, so the newest comes


def newest(lock: Lock, name: str) -> str:
    (version,) = {one.version for one in lock.artifacts if one.name == name and one.kind == "wheel"}
    return version


@pytest.fixture
def moving(upstreams: Upstreams) -> Iterator[Upstreams]:
    """Upstreams; ``upstreams.withheld`` are pieces of file names that the package index does not list yet."""
    yield upstreams
    upstreams.withheld.clear()
    upstreams.rewritten.clear()


@pytest.fixture
def locked_before(moving: Upstreams, factory: Path, define: Define, locked: Any) -> tuple[Path, Path]:
    """A lock made before the newest releases of two projects came out."""
    for name in HELD_BACK:
        moving.withheld.add(f"/{name}-{newest(locked.lock, name)}")
    folder = define()
    done(airlock("lock", "--factory", factory, folder))
    for name in HELD_BACK:
        assert newest(load_lock(folder / "airlock.lock"), name) != newest(locked.lock, name)
    moving.withheld.clear()
    return factory, folder


def lock(factory: Path, folder: Path, *words: str) -> tuple[Lock, dict[str, Any]]:
    """The lock after ``lock``, which solved again offline is the same, and what is said to have changed."""
    answer = json.loads(done(airlock("lock", *words, "--json", "--factory", factory, folder)).stdout)
    done(airlock("lock", "--check", "--factory", factory, folder))
    return load_lock(folder / "airlock.lock"), answer["changes"]


def test_upstream_moves_and_only_what_is_named_follows(
    locked_before: tuple[Path, Path], moving: Upstreams, locked: Any
) -> None:
    factory, folder = locked_before
    bytes_before = (folder / "airlock.lock").read_bytes()
    old = load_lock(folder / "airlock.lock")

    moving.asked.clear()
    _, changes = lock(factory, folder)
    assert changes["same"]
    assert (folder / "airlock.lock").read_bytes() == bytes_before
    assert moving.asked == [], "a lock that is not to move asks upstreams nothing"

    moved, changes = lock(factory, folder, "--update", "jinja2")
    assert newest(moved, "jinja2") == newest(locked.lock, "jinja2")
    assert newest(moved, "requests") == newest(old, "requests")
    (change,) = changes["changed"]
    assert (change["name"], change["before"], change["after"]) == (
        "jinja2", [newest(old, "jinja2")], [newest(locked.lock, "jinja2")],
    )  # fmt: skip
    assert (changes["added"], changes["removed"]) == ([], [])

    moved, changes = lock(factory, folder, "--update")
    assert [one["name"] for one in changes["changed"]] == ["requests"]
    assert newest(moved, "requests") == newest(locked.lock, "requests")


def test_an_apt_index_moves_as_a_whole_and_only_when_it_is_named(
    moving: Upstreams, factory: Path, define: Define, locked: Any
) -> None:
    folder = define()
    done(airlock("lock", "--factory", factory, folder))
    before = (folder / "airlock.lock").read_bytes()
    victims = [
        one for one in load_lock(folder / "airlock.lock").artifacts if one.kind == "deb" and one.upstream == "debian"
    ]
    first, second = [one for one in victims if not one.name.startswith("python3")][:2]
    moving.bump({first.name: first.version + "+moved1", second.name: second.version + "+moved1"})

    _, changes = lock(factory, folder)
    assert changes["same"]
    assert (folder / "airlock.lock").read_bytes() == before

    refused(airlock("lock", "--update", first.name, "--factory", factory, folder), USAGE, "debian", "moves as a whole")
    moved, changes = lock(factory, folder, "--update", "debian")
    assert {one["name"] for one in changes["changed"]} == {first.name, second.name}, "both, or neither: one index"
    assert all(one["after"][0].endswith("+moved1") for one in changes["changed"])
    assert all(one["images"] == ["base (x86_64)"] for one in changes["changed"])
    assert {one.version for one in moved.artifacts if one.name == second.name} == {second.version + "+moved1"}


def test_a_changed_definition_asks_what_is_new_and_keeps_the_rest(
    locked_before: tuple[Path, Path], moving: Upstreams, define: Define
) -> None:
    factory, folder = locked_before
    old = load_lock(folder / "airlock.lock")
    moving.asked.clear()
    define(images='["base", "redis-base"]')
    moved, changes = lock(factory, folder)
    assert changes["images_added"] == ["redis-base (x86_64)"]
    assert changes["changed"] == []
    for name in HELD_BACK:
        assert newest(moved, name) == newest(old, name)
    assert not [path for path in moving.asked if re.search(r"/dists/", path)], "the index is the one that was locked"


def test_a_name_that_is_none_is_refused_with_the_nearest(locked_before: tuple[Path, Path]) -> None:
    factory, folder = locked_before
    before = (folder / "airlock.lock").read_bytes()
    refused(airlock("lock", "--update", "jinja", "--factory", factory, folder), USAGE, "jinja", "jinja2")
    refused(airlock("lock", "--update", "jinja2", "--check", "--factory", factory, folder), USAGE, "--check")
    assert (folder / "airlock.lock").read_bytes() == before


def test_another_factory_does_not_move_part_of_a_lock(
    locked_before: tuple[Path, Path], moving: Upstreams, tmp_path: Path, locked: Any
) -> None:
    _, folder = locked_before
    other = tmp_path / "other"
    other.mkdir()
    (other / "factory.toml").write_text(moving.settings())
    (other / "cache").symlink_to(locked.factory / "cache")
    refused(airlock("lock", "--update", "jinja2", "--factory", other, folder), USAGE, "this pool has not")


def test_what_changed_between_two_locks_is_said_and_the_code_tells(
    locked_before: tuple[Path, Path], locked: Any
) -> None:
    _, folder = locked_before
    same = airlock("lock", "--diff", folder, folder / "airlock.lock")
    assert (same.returncode, same.stdout) == (0, "the same, byte for byte\n")
    other = airlock("lock", "--diff", folder, locked.definition)
    assert other.returncode == 16
    for name in HELD_BACK:
        assert f"changed     python {name}" in other.stdout
