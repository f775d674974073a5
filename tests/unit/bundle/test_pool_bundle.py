"""The bundle seen in a factory's pool is the one that would be written, and nothing is written for it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, Sample, make_sample

from airlock.bundle.manifest import MAX_CONTENT
from airlock.bundle.pool_bundle import pool_bundle
from airlock.bundle.stored import BUNDLES, StoredBundle
from airlock.core.digest import sha256_file
from airlock.core.errors import IncompleteError, IntegrityError


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


def seen(sample: Sample) -> StoredBundle:
    return pool_bundle(sample.factory, sample.lock, sample.definition)


def test_it_has_the_content_of_the_bundle_that_is_written(sample: Sample, tmp_path: Path) -> None:
    bundle = seen(sample)
    before = sorted(tmp_path.rglob("*"))
    bundle.check(QUIET)
    assert sorted(tmp_path.rglob("*")) == before
    assert bundle.manifest.content_digest == sample.bundle(tmp_path / "media").content_digest
    assert bundle.lock == sample.lock
    assert bundle.definition_files == sample.definition.files


def test_every_artifact_is_the_pools_own_file(sample: Sample) -> None:
    bundle = seen(sample)
    for artifact in sample.lock.artifacts:
        file = bundle.content(artifact.sha256, artifact.file)
        assert file is not None
        assert bundle.store.local(file.path) == sample.pool.path(artifact.sha256)


def test_every_index_can_be_read_each_way(sample: Sample, tmp_path: Path) -> None:
    bundle = seen(sample)
    assert bundle.index_names
    for name in bundle.index_names:
        file, data = bundle.index_file(name), bundle.index(name)
        assert file is not None
        local = bundle.store.local(file.path)
        assert local is not None
        assert local.read_bytes() == data
        bundle.store.fetch(file.path, tmp_path / "fetched", sha256=file.sha256, size=file.size)
        assert sha256_file(tmp_path / "fetched") == bundle.store.digest(file.path) == (file.sha256, file.size)


def test_what_is_in_memory_only_can_be_read_each_way(sample: Sample, tmp_path: Path) -> None:
    store, path = seen(sample).store, f"{BUNDLES}/stream-rehearsal/airlock.lock"
    data = sample.lock.to_bytes()
    assert store.local(path) is None
    assert store.read_bytes(path, MAX_CONTENT) == data
    with pytest.raises(IntegrityError, match="larger"):
        store.read_bytes(path, len(data) - 1)
    store.fetch(path, tmp_path / "fetched", sha256="", size=len(data))
    assert (tmp_path / "fetched").read_bytes() == data

    async def streamed() -> bytes:
        return b"".join([chunk async for chunk in store.stream(path)])

    assert asyncio.run(streamed()) == data
    with pytest.raises(FileNotFoundError):
        store.read_bytes(f"{BUNDLES}/another/airlock.lock", MAX_CONTENT)
    assert store.digest(f"{BUNDLES}/another/airlock.lock") is None


def test_a_pool_that_lost_or_changed_a_file_is_told(sample: Sample) -> None:
    bundle = seen(sample)
    victim = sample.pool.path(sample.lock.artifacts[0].sha256)
    data = victim.read_bytes()
    victim.write_bytes(bytes(len(data)))
    with pytest.raises(IntegrityError, match="1 files changed"):
        bundle.check(QUIET)
    victim.unlink()
    with pytest.raises(IncompleteError, match="1 missing"):
        bundle.check(QUIET)
    with pytest.raises(IncompleteError, match="not in the pool"):
        seen(sample)


def test_without_indexes_there_is_none(sample: Sample) -> None:
    shutil.rmtree(sample.factory.indexes)
    with pytest.raises(IncompleteError, match="indexes"):
        seen(sample)
