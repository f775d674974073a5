"""download: against an upstream that misbehaves in every way we know of."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airlock.core.digest import sha256_bytes
from airlock.core.errors import GoneError, IntegrityError, SpaceError, StateError, UpstreamError
from airlock.core.files import exclusive
from airlock.core.progress import SilentReporter
from airlock.core.settings import FetchTable
from airlock.fetch.download import download
from airlock.fetch.jobs import Job, Result
from airlock.store.pool import Pool

QUICK = FetchTable(connections=4, retries=2, timeout=0.5)


def body(seed: int, size: int = 300_000) -> bytes:
    return random.Random(seed).randbytes(size)


def job(stand: Any, path: str, data: bytes | None = None) -> Job:
    data = stand.files[path] if data is None else data
    name = path.strip("/")
    return Job(f"deb/{name}", name, stand.url + path, sha256_bytes(data), len(data))


async def fetch(pool: Pool, *jobs: Job, settings: FetchTable = QUICK) -> Result:
    return await download(jobs, pool, settings, SilentReporter())


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def whole(pool: Pool, *jobs: Job) -> bool:
    return all(pool.check(job.sha256, job.size) == "" for job in jobs)


def parts(pool: Pool) -> list[Path]:
    return list(pool.root.rglob("*.part"))


async def test_files_arrive_whole_and_in_parallel_within_the_bound(stand, pool):
    stand.files = {f"/{n}": body(n, 100_000) for n in range(12)}
    stand.pace = 0.005
    jobs = [job(stand, path) for path in stand.files]
    result = await fetch(pool, *jobs)
    result.check()
    assert whole(pool, *jobs)
    assert (result.fetched, result.present, result.bytes) == (12, 0, 12 * 100_000)
    assert 2 <= stand.most_active <= QUICK.connections
    assert not parts(pool)


async def test_nothing_that_is_in_the_pool_is_fetched_again(stand, pool):
    stand.files = {"/a": body(1), "/b": body(2)}
    await fetch(pool, job(stand, "/a"))
    result = await fetch(pool, job(stand, "/a"), job(stand, "/b"))
    assert (result.fetched, result.present) == (1, 1)
    assert len(stand.asked("/a")) == 1
    assert (await fetch(pool, job(stand, "/a"), job(stand, "/b"))).bytes == 0
    assert len(stand.requests) == 2


async def test_a_file_of_the_wrong_size_in_the_pool_is_replaced(stand, pool):
    stand.files = {"/a": body(1)}
    wanted = job(stand, "/a")
    pool.path(wanted.sha256).parent.mkdir(parents=True)
    pool.path(wanted.sha256).write_bytes(b"")
    (await fetch(pool, wanted)).check()
    assert whole(pool, wanted)


@pytest.mark.parametrize("fault", ["cut:200000", "reset:100000"])
async def test_a_broken_connection_is_resumed_and_nothing_is_sent_twice(stand, pool, fault):
    stand.files = {"/a": body(1)}
    stand.faults["/a"] = [fault]
    (await fetch(pool, job(stand, "/a"))).check()
    assert whole(pool, job(stand, "/a"))
    first, second = stand.asked("/a")
    assert first == ""
    assert second.startswith("bytes=")
    assert second != "bytes=0-"
    assert stand.sent["/a"] <= len(stand.files["/a"]) + 64_000


async def test_a_stalled_connection_is_given_up_and_resumed(stand, pool):
    stand.files = {"/a": body(1)}
    stand.faults["/a"] = ["stall:100000"]
    (await fetch(pool, job(stand, "/a"))).check()
    assert whole(pool, job(stand, "/a"))
    assert stand.asked("/a") == ["", "bytes=100000-"]


async def test_a_server_that_ignores_range_starts_over(stand, pool):
    stand.files, stand.ranges = {"/a": body(1)}, False
    stand.faults["/a"] = ["cut:200000"]
    (await fetch(pool, job(stand, "/a"))).check()
    assert whole(pool, job(stand, "/a"))


async def test_a_redirect_is_followed_also_when_resuming(stand, other_stand, pool):
    other_stand.files = {"/there": body(1)}
    other_stand.faults["/there"] = ["cut:150000"]
    stand.always["/a"] = f"redirect:{other_stand.url}/there"
    wanted = job(stand, "/a", other_stand.files["/there"])
    (await fetch(pool, wanted)).check()
    assert whole(pool, wanted)
    assert other_stand.asked("/there")[1].startswith("bytes=1")


@pytest.mark.parametrize("status", ["503", "500", "429", "403"])
async def test_an_upstream_that_recovers_is_asked_again(stand, pool, status):
    stand.files = {"/a": body(1)}
    stand.faults["/a"] = [status, status]
    (await fetch(pool, job(stand, "/a"))).check()
    assert whole(pool, job(stand, "/a"))


async def test_an_upstream_that_does_not_recover_is_an_upstream_error_and_the_rest_arrives(stand, pool):
    stand.files = {"/a": body(1), "/b": body(2)}
    stand.always["/a"] = "503"
    result = await fetch(pool, job(stand, "/a"), job(stand, "/b"))
    assert whole(pool, job(stand, "/b"))
    assert len(stand.asked("/a")) == QUICK.retries + 1
    with pytest.raises(UpstreamError, match=r"deb/a.*tried 3 times.*503") as raised:
        result.check()
    assert not isinstance(raised.value, GoneError)
    assert raised.value.remedy


@pytest.mark.parametrize("status", ["404", "410"])
async def test_a_gone_file_names_the_artifact_and_lock_update_without_a_second_try(stand, pool, status):
    stand.files = {"/a": body(1), "/b": body(2)}
    stand.always["/a"] = status
    result = await fetch(pool, job(stand, "/a"), job(stand, "/b"))
    assert whole(pool, job(stand, "/b"))
    assert len(stand.asked("/a")) == 1
    with pytest.raises(GoneError, match="deb/a") as raised:
        result.check()
    assert "run `airlock lock --update`" in raised.value.remedy


@pytest.mark.parametrize("fault", ["other", "shorter", "longer"])
async def test_wrong_bytes_are_named_with_both_digests_and_not_kept(stand, pool, fault):
    stand.files = {"/a": body(1), "/b": body(2)}
    stand.always["/a"] = fault
    wanted = job(stand, "/a")
    result = await fetch(pool, wanted, job(stand, "/b"))
    assert whole(pool, job(stand, "/b"))
    assert not pool.has(wanted.sha256)
    assert not parts(pool)
    with pytest.raises(
        IntegrityError, match=f"deb/a.*{wanted.sha256}.*got (sha256 [0-9a-f]{{64}}|more than)"
    ) as raised:
        result.check()
    assert "run `airlock lock --update`" in raised.value.remedy


async def test_an_endless_answer_is_read_no_further_than_the_lock_says(stand, pool):
    stand.files = {"/a": body(1, 50_000_000)}
    wanted = Job("deb/a", "a", stand.url + "/a", sha256_bytes(b"x"), 1000)
    result = await fetch(pool, wanted)
    assert isinstance(result.failures[0].error, IntegrityError)
    assert result.bytes < 1_000_000


async def test_an_upstream_that_is_down_does_not_hold_up_the_others(stand, pool, dead_url):
    stand.files = {"/a": body(1, 100)}
    lost = [Job(f"deb/x{n}", "x", f"{dead_url}/x{n}", sha256_bytes(str(n).encode()), 10_000) for n in range(200)]
    async with asyncio.timeout(10):
        result = await fetch(pool, *lost, job(stand, "/a"))
    assert whole(pool, job(stand, "/a"))
    assert len(result.failures) == 200
    assert sum("was not tried" in failure.error.message for failure in result.failures) >= 190
    with pytest.raises(UpstreamError, match=r"200 files(.|\n)*and 180 more"):
        result.check()


async def test_several_failures_are_reported_together_by_the_gravest(stand, pool):
    stand.files = {path: body(1 + place) for place, path in enumerate(["/gone", "/bad", "/down"])}
    stand.always = {"/gone": "404", "/bad": "other", "/down": "500"}
    result = await fetch(pool, *(job(stand, path) for path in stand.files))
    with pytest.raises(IntegrityError) as raised:
        result.check()
    assert all(f"deb/{name}" in raised.value.message for name in ("gone", "bad", "down"))
    assert "run `airlock lock --update`" in raised.value.remedy


@pytest.mark.parametrize("left", [b"rubbish of an earlier day", b"\0" * 300_000, b"\0" * 400_000])
async def test_a_damaged_part_file_costs_a_second_try_not_an_error(stand, pool, left):
    stand.files = {"/a": body(1)}
    wanted = job(stand, "/a")
    place = pool.path(wanted.sha256)
    place.parent.mkdir(parents=True)
    place.with_name(place.name + ".part").write_bytes(left)
    (await fetch(pool, wanted)).check()
    assert whole(pool, wanted)
    assert not parts(pool)


async def test_a_whole_part_file_is_used_without_a_request(stand, pool):
    stand.files = {"/a": body(1)}
    wanted = job(stand, "/a")
    place = pool.path(wanted.sha256)
    place.parent.mkdir(parents=True)
    place.with_name(place.name + ".part").write_bytes(stand.files["/a"])
    (await fetch(pool, wanted)).check()
    assert whole(pool, wanted)
    assert not stand.requests


async def test_progress_resets_the_patience(stand, pool):
    stand.files = {"/a": body(1, 8_000_000)}
    stand.always["/a"] = "cut:1500000"  # six pieces: more than there are retries
    (await fetch(pool, job(stand, "/a"))).check()
    assert whole(pool, job(stand, "/a"))
    assert len(stand.asked("/a")) > QUICK.retries + 1


async def test_space_is_checked_before_anything_is_asked(stand, pool):
    with pytest.raises(SpaceError):
        await fetch(pool, Job("deb/a", "a", stand.url + "/a", sha256_bytes(b"x"), 1 << 60))
    assert not stand.requests


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", str(root)], check=True)
    yield root
    subprocess.run(["umount", str(root)], check=True)


async def test_a_disk_that_fills_up_is_a_space_error_and_what_arrived_is_kept(stand, small_disk):
    stand.files = {"/a": body(1, 20_000_000)}
    stand.before_body = lambda: (small_disk / "filler").write_bytes(b"x" * 30_000_000)
    pool = Pool(small_disk / "pool")
    with pytest.raises(SpaceError, match="full"):
        await fetch(pool, job(stand, "/a"))
    stand.before_body = None
    (small_disk / "filler").unlink()
    (await fetch(pool, job(stand, "/a"))).check()
    assert whole(pool, job(stand, "/a"))
    assert stand.asked("/a")[1].startswith("bytes=")


async def test_one_process_at_a_time_fills_a_pool(stand, pool):
    stand.files = {"/a": body(1)}
    with exclusive(pool.root / ".fetch.lock", "test"), pytest.raises(StateError):
        await fetch(pool, job(stand, "/a"))


async def test_passwords_do_not_reach_messages(stand, pool):
    stand.files = {"/a": body(1)}
    stand.always["/a"] = "503"
    address = stand.url.replace("//", "//user:secret@")
    wanted = Job("deb/a", "a", address + "/a?token=secret", sha256_bytes(b"x"), 7)
    result = await fetch(pool, wanted, settings=FetchTable(retries=0))
    assert "secret" not in str(result.failures[0].error)
