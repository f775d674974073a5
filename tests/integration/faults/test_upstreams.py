"""Upstreams that are down, slow, break off or serve other bytes: one message, nothing kept that is wrong, and once they
are whole again the same command ends what it began."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import airlock, done, refused
from tests.integration.faults.conftest import Define, Locked
from tests.integration.faults.upstreams import Upstreams

from airlock.core.digest import sha256_file
from airlock.evidence import ledger
from airlock.lock.files import load_lock
from airlock.lock.indexes import read_indexes

UPSTREAM, INTEGRITY, GONE = 6, 7, 8


@pytest.fixture
def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def whole(pool: Path) -> None:
    """What lies in a pool has the sha256 that its name says; what is half has a name that says so."""
    for file in pool.rglob("*"):
        if file.is_file() and file.suffix != ".part" and file.parent.name == file.name[:2]:
            assert sha256_file(file)[0] == file.name, file
    assert not list(pool.glob("incoming/*"))


INDEX = {
    "dead": ("", UPSTREAM, ["no connection", "tried 2 times"]),
    "down": ("down", UPSTREAM, ["503", "tried 2 times"]),
    "stall": ("stall", UPSTREAM, ["nothing arrived for too long", "tried 2 times"]),
    "cut": ("cut", UPSTREAM, ["tried 2 times"]),
}


@pytest.mark.parametrize("fault", INDEX)
def test_a_package_index_that_fails_is_named_before_anything_is_solved(
    factory: Path, define: Define, upstreams: Upstreams, dead: str, fault: str
) -> None:
    folder = define()
    kind, code, words = INDEX[fault]
    if fault == "dead":
        (factory / "factory.toml").write_text(upstreams.settings(pypi=f"{dead}/simple"))
    else:
        upstreams.faults["^/pypi/kolla/$"] = kind
    refused(airlock("lock", "--factory", factory, folder), code, "pypi", *words)
    whole(factory / "pool")
    assert not (folder / "airlock.lock").exists()
    assert not (factory / "ledger.jsonl").exists()


def test_a_wheel_with_other_bytes_than_its_index_declares_is_not_kept(
    factory: Path, define: Define, upstreams: Upstreams
) -> None:
    folder = define()
    upstreams.faults["/files/kolla/.*whl$"] = "other"
    refused(airlock("lock", "--factory", factory, folder), INTEGRITY, "pypi", "other bytes", "kolla-18.8.0")
    whole(factory / "pool")
    assert not (folder / "airlock.lock").exists()


ARCHIVE = {
    "changed": ({"/bookworm/main/.*Packages": "other"}, INTEGRITY, ["Hash Sum mismatch"]),
    "signature": ({"/bookworm/InRelease": "other"}, INTEGRITY, ["bookworm"]),
    "down": ({"^/debian/": "down"}, UPSTREAM, ["503"]),
    "cut": ({"/bookworm/main/.*Packages": "cut"}, UPSTREAM, ["debian"]),
    "gone": ({"^/debian/dists/bookworm/": "gone"}, 5, ["bookworm"]),
}


@pytest.mark.parametrize(
    "fault", ["changed", "down", *(pytest.param(name, marks=pytest.mark.full) for name in ("signature", "cut", "gone"))]
)
def test_a_debian_archive_that_fails_leaves_the_old_lock_as_it_was(
    factory: Path, define: Define, upstreams: Upstreams, fault: str
) -> None:
    folder = define()
    (folder / "airlock.lock").write_text("the old one\n")
    faults, code, words = ARCHIVE[fault]
    upstreams.faults.update(faults)
    refused(airlock("lock", "--factory", factory, folder), code, "debian", *words)
    assert (folder / "airlock.lock").read_text() == "the old one\n"
    assert not (factory / "ledger.jsonl").exists()
    whole(factory / "pool")


@pytest.fixture
def unfetched(factory: Path, locked: Locked, tmp_path: Path) -> tuple[Path, Path]:
    """A factory with the real lock, and a pool that lacks every .deb and the wheel of Kolla."""
    folder = tmp_path / "definition"
    shutil.copytree(locked.definition, folder)
    lock = locked.lock
    shutil.copytree(locked.factory / "pool", factory / "pool")
    for artifact in lock.artifacts:
        if artifact.kind == "deb" or artifact.name == "kolla":
            (factory / "pool" / artifact.sha256[:2] / artifact.sha256).unlink()
    return factory, folder


def test_each_way_a_file_can_fail_is_told_and_the_rest_arrives(
    unfetched: tuple[Path, Path], upstreams: Upstreams
) -> None:
    """Other bytes, longer, gone, broken off, stalled, down: all in one message, under the gravest code. Once upstreams
    are whole, the same command fetches these six and nothing else."""
    factory, folder = unfetched
    lock = load_lock(folder / "airlock.lock")
    files = ["lsof", "curl", "gawk", "kmod", "procps", "netbase"]
    debs = {one.name: one for one in lock.artifacts if one.kind == "deb"}
    for name, fault in zip(files, ["other", "longer", "gone", "cut", "stall", "down"], strict=True):
        upstreams.faults[f"/{re.escape(debs[name].file)}$"] = fault
    result = airlock("refresh", "--factory", factory, folder)
    refused(
        result, INTEGRITY, "6 files could not be fetched", *(debs[name].id for name in files), "no longer at", "503"
    )
    whole(factory / "pool")
    assert read_indexes(factory / "indexes" / lock.digest) == {}
    assert not (factory / "ledger.jsonl").exists()
    missing = {one.name for one in lock.artifacts if not (factory / "pool" / one.sha256[:2] / one.sha256).exists()}
    assert missing == set(files)

    upstreams.faults.clear()
    upstreams.asked.clear()
    done(airlock("refresh", "--factory", factory, folder))
    assert {path.rpartition("/")[2] for path in upstreams.asked} == {debs[name].file for name in files}
    assert [entry.verb for entry in ledger.entries(factory / "ledger.jsonl")] == ["refresh"]
    whole(factory / "pool")
    upstreams.asked.clear()
    assert "nothing was fetched" in done(airlock("refresh", "--factory", factory, folder)).stdout
    assert upstreams.asked == []


@pytest.mark.parametrize(("fault", "code"), [("gone", GONE), ("down", UPSTREAM), ("other", INTEGRITY)])
def test_a_wheel_that_fails_alone_has_the_code_of_its_class(
    unfetched: tuple[Path, Path], upstreams: Upstreams, fault: str, code: int
) -> None:
    factory, folder = unfetched
    upstreams.faults["/files/kolla/.*whl$"] = fault
    refused(airlock("refresh", "--factory", factory, folder), code, "wheel/kolla-18.8.0")
    upstreams.faults.clear()
    done(airlock("refresh", "--factory", factory, folder))


def test_a_dead_upstream_is_not_waited_for_once_a_file(
    unfetched: tuple[Path, Path], upstreams: Upstreams, dead: str
) -> None:
    factory, folder = unfetched
    (factory / "factory.toml").write_text(upstreams.settings(debian=dead))
    upstreams.faults["/files/kolla/.*whl$"] = "other"
    message = refused(airlock("refresh", "--factory", factory, folder), INTEGRITY, "does not answer", "more")
    assert "wheel/kolla-18.8.0" in message, "what the exit code is about is named among many others"
    assert len(message.splitlines()) < 40, "a message that can be read"
    upstreams.faults.clear()
    refused(airlock("refresh", "--factory", factory, folder), UPSTREAM, "does not answer", "more")
    (factory / "factory.toml").write_text(upstreams.settings())
    done(airlock("refresh", "--factory", factory, folder))
