"""A room whose bundle lies in a Nexus: the gateway brings files from there, checked; nothing in the room reaches it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, make_sample, make_site, make_wheel
from tests.integration.nexus.conftest import Repository
from tests.integration.nexus.test_importing import bring

from airlock.build.materials import check_and_date, local_files
from airlock.build.mirror import BundleMirror
from airlock.build.record_parts import served_part
from airlock.build.wheel_cache import WheelCache
from airlock.bundle.stored import StoredBundle, open_bundle
from airlock.core.errors import IncompleteError, IntegrityError
from airlock.room.sealed import SealedRoom
from airlock.store.artifacts import DirectoryStore, store_path

pytestmark = pytest.mark.usefixtures("hasty")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="rooms need root")
URL = "http://mirror.airlock.internal"


def deb(time: int, size: int = 0) -> bytes:
    """As much of a .deb as tells its time (ar(5)): 16 bytes of name, 12 of the time."""
    return b"!<arch>\n" + f"{'debian-binary':<16}{time:<12}".encode() + bytes(size)


def opened(bundle: StoredBundle, folder: Path) -> tuple[BundleMirror, object]:
    mirror = BundleMirror(bundle, WheelCache(folder / "wheels"))
    return mirror, SealedRoom.open("nexus", folder / "room", mirror=mirror, reporter=QUIET)


async def ask(room: SealedRoom, path: str, *options: str) -> tuple[int, bytes]:
    """(curl's exit code, what it wrote)."""
    address = path if path.startswith("http") else f"{URL}{path}"
    result = await room.engine.tool("curl", "-s", "-f", "--max-time", "20", *options, address)
    return result.returncode, result.stdout


@needs_root
async def test_a_room_is_served_from_nexus_as_from_a_directory_and_does_not_reach_it(
    repository: Repository, tmp_path: Path
) -> None:
    sample = make_sample(tmp_path, count=8, size=400_000)
    bundle = Path(sample.bundle(tmp_path / "media").path)
    bring(bundle, repository.site())
    here = make_site(tmp_path / "here")
    bring(bundle, here)
    first, *others = sample.lock.artifacts
    served = {}
    for name, store in (("nexus", repository.store()), ("directory", DirectoryStore(here.artifacts))):
        with store:
            mirror, opening = opened(open_bundle(store, "stream-r1"), tmp_path / name)
            async with opening as room:  # type: ignore[attr-defined]
                room.image = "base"
                for one in others:
                    path = store_path(one.sha256, one.file)
                    assert await ask(room, f"/{path}") == (0, sample.pool.read(one.sha256))
                assert await ask(room, f"/sources/{first.file}") == (0, sample.pool.read(first.sha256))
                assert await ask(room, "/apt/debian/dists/bookworm/Release") == (0, b"Suite: bookworm\n")
                assert await ask(room, "/pypi/simple/") == (0, b"<html></html>\n")
                assert (await ask(room, f"/pool/aa/{'a' * 64}/absent"))[0] == 22
                assert (await ask(room, repository.nexus.address))[0] == 7  # no connection
                report = room.report()
            served[name] = (served_part(report, mirror.origins, mirror.sizes), [one.status for one in report.missing])
    assert served["nexus"] == served["directory"]
    assert len(served["nexus"][0]) == len(others) + 3


@needs_root
async def test_what_nexus_gives_wrong_or_has_lost_is_recorded_by_name(repository: Repository, tmp_path: Path) -> None:
    sample = make_sample(tmp_path, count=8, size=400_000)
    bring(Path(sample.bundle(tmp_path / "media").path), repository.site())
    changed, gone, *_ = sample.lock.artifacts
    for blob in (repository.nexus.data / "blobs" / repository.name).rglob("*.bytes"):
        if blob.read_bytes() == sample.pool.read(changed.sha256):
            blob.write_bytes(bytes(changed.size))
    with repository.store() as store:
        bundle = open_bundle(store, "stream-r1")
        with pytest.raises(IntegrityError, match=re.escape(changed.file)):
            bundle.check(QUIET)
        _, opening = opened(bundle, tmp_path)
        repository.delete(store_path(gone.sha256, gone.file).replace("+", "%2B"))
        async with opening as room:  # type: ignore[attr-defined]
            room.image = "keystone"
            code, data = await ask(room, f"/{store_path(changed.sha256, changed.file)}")
            assert code != 0
            assert len(data) < changed.size
            assert (await ask(room, f"/{store_path(gone.sha256, gone.file)}"))[0] == 22
            report, failures = room.report(), room.failures
    assert [(one.status, one.sha256) for one in report.missing] == [(502, changed.sha256), (502, gone.sha256)]
    assert [type(failure) for failure in failures] == [IntegrityError, IncompleteError]


async def test_times_are_read_while_all_is_hashed_and_nothing_stays(repository: Repository, tmp_path: Path) -> None:
    wheel = make_wheel("one-1.0-py3-none-any.whl", {"one.py": "", "two.py": "x = 1\n" * 100_000})
    extra = {f"n{number}_1_all.deb": deb(1_700_000_000 + number, 300_000 * number) for number in range(6)}
    sample = make_sample(tmp_path, count=0, extra=extra | {"one-1.0-py3-none-any.whl": wheel})
    bundle = Path(sample.bundle(tmp_path / "media").path)
    bring(bundle, repository.site())
    here = make_site(tmp_path / "here")
    bring(bundle, here)
    work = tmp_path / "work"
    with repository.store() as store:
        stored = open_bundle(store, "stream-r1")
        times = check_and_date(stored, "x86_64", work, QUIET)
        local = open_bundle(DirectoryStore(here.artifacts), "stream-r1")
        assert times == check_and_date(local, "x86_64", work, QUIET)
        assert times["deb/n5_1_all.deb"] == 1_700_000_005
        assert len(times) == 7
        assert check_and_date(stored, "aarch64", work, QUIET) == {}
        assert not [path for path in work.rglob("*") if path.is_file()]
        with local_files(stored, work) as content:
            found = [content(artifact) for artifact in sample.lock.artifacts[:3]]
            assert [path.read_bytes() for path in found] == [
                sample.pool.read(artifact.sha256) for artifact in sample.lock.artifacts[:3]
            ]
            assert sorted(path for path in work.rglob("*") if path.is_file()) == sorted(found)
        assert not work.exists()
        with local_files(local, work) as content:
            assert content(sample.lock.artifacts[0]).is_relative_to(here.artifacts)

        lost, broken = sample.lock.artifacts[0], sample.lock.artifacts[1]
        repository.delete(store_path(lost.sha256, lost.file))
        with pytest.raises(IncompleteError, match=lost.file):
            check_and_date(stored, "x86_64", work, QUIET)
        with local_files(stored, work) as content, pytest.raises(IncompleteError, match=lost.file):
            content(lost)
        for blob in (repository.nexus.data / "blobs" / repository.name).rglob("*.bytes"):
            if blob.read_bytes() == sample.pool.read(broken.sha256):
                blob.write_bytes(bytes(broken.size))
        with pytest.raises(IntegrityError, match=broken.file):
            check_and_date(stored, "x86_64", work, QUIET)
        with local_files(stored, work) as content, pytest.raises(IntegrityError, match=broken.file):
            content(broken)
