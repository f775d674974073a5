"""A lock edited by hand, so that it agrees with itself: whoever wants it to be called complete is told what is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.integration.faults.airlock_runs import airlock, refused
from tests.integration.faults.conftest import Locked

from airlock.lock.files import save_lock
from airlock.lock.model import Artifact, Lock

Edit = Callable[[Lock], Lock]


def settled(lock: Lock) -> Lock:
    """With the counts and the order that belong to it."""
    counts = {name: len(getattr(lock, name)) for name in ("images", "demands", "artifacts")}
    header = replace(lock.header, size=sum(one.size for one in lock.artifacts), **counts)
    artifacts = tuple(sorted(lock.artifacts, key=lambda one: one.key))
    return Lock(header, lock.images, tuple(sorted(lock.demands, key=lambda one: one.key)), artifacts)


def with_artifacts(lock: Lock, *changed: Artifact) -> Lock:
    by_id = {one.id: one for one in changed}
    return Lock(lock.header, lock.images, lock.demands, tuple(by_id.get(one.id, one) for one in lock.artifacts))


def swapped(lock: Lock) -> Lock:
    one, other = [found for found in lock.artifacts if found.kind == "deb"][10:12]
    bytes_of = {"sha256": other.sha256, "size": other.size}
    return with_artifacts(lock, replace(one, **bytes_of), replace(other, sha256=one.sha256, size=one.size))


def relabelled(lock: Lock) -> Lock:
    return with_artifacts(lock, replace(next(one for one in lock.artifacts if one.arch == "amd64"), arch="arm64"))


def without_engine(lock: Lock) -> Lock:
    demands = tuple(
        replace(one, artifacts=(), note="it is there already") if one.spec == "podman" else one for one in lock.demands
    )
    used = {ident for one in demands for ident in one.artifacts}
    return Lock(lock.header, lock.images, demands, tuple(one for one in lock.artifacts if one.id in used))


def with_header(**changes: object) -> Edit:
    return lambda lock: Lock(replace(lock.header, **changes), lock.images, lock.demands, lock.artifacts)


def leading_out(lock: Lock) -> Lock:
    tools = {ident for one in lock.demands if one.kind == "tool" for ident in one.artifacts}
    victim = next(one for one in lock.artifacts if one.id in tools)
    return with_artifacts(lock, replace(victim, file=f"../../../{victim.file}"))


def marked(lock: Lock) -> Lock:
    return with_artifacts(lock, replace(lock.artifacts[0], stand_in=True))


def twice(lock: Lock) -> Lock:
    one, other = [found for found in lock.artifacts if found.kind == "wheel"][:2]
    again = replace(one, sha256=other.sha256, size=other.size)
    return Lock(lock.header, lock.images, lock.demands, (*lock.artifacts, again))


@pytest.mark.parametrize(
    ("edit", "code", "said"),
    [
        (swapped, 9, "the index that it was locked from"),
        (relabelled, 9, "the architecture arm64, the index that it was locked from amd64"),
        (without_engine, 9, "tool demand `podman` has no answer"),
        (with_header(kolla={"source": "pypi", "version": "19.0.0"}), 9, "its header says Kolla's version is '19.0.0'"),
        (with_header(release="another"), 9, "is for the release 'another'"),
        (with_header(witness="../../../../etc/passwd"), 13, "what it was solved against has no sha256"),
        (with_header(witness="0" * 64), 9, "is not in the pool"),
        (leading_out, 9, "unsafe path"),
        (marked, 9, "no stand-in, and is marked otherwise"),
        (twice, 13, "the same artifact as line"),
    ],
)
def test_a_lock_that_agrees_with_itself_is_not_called_complete(
    locked: Locked, tmp_path: Path, edit: Edit, code: int, said: str
) -> None:
    shutil.copytree(locked.factory, tmp_path / "factory", copy_function=os.link, symlinks=True)
    shutil.copytree(locked.definition, tmp_path / "definition")
    changed = settled(edit(locked.lock))
    save_lock(tmp_path / "definition/airlock.lock", changed)
    if not (tmp_path / "factory/indexes" / changed.digest).exists():  # as `refresh` would have it, where it makes any
        shutil.copytree(locked.indexes, tmp_path / "factory/indexes" / changed.digest)
    result = airlock("validate", "--factory", tmp_path / "factory", tmp_path / "definition")
    refused(result, code, said)
    assert "nothing is missing" not in result.stdout
