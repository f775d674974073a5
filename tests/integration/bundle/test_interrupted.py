"""Killed, crowded out or overtaken at any moment: nothing false is left, and the same command again finishes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, make_sample, make_site, tree

from airlock.bundle.stored import list_bundles, open_bundle
from airlock.bundle.verify import verify_bundle
from airlock.core.errors import IncompleteError
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.site.importing import import_bundle
from airlock.store.artifacts import DirectoryStore

SCRIPT = Path(__file__).parents[2] / "harmed.py"
MOMENTS = int(os.environ.get("AIRLOCK_MOMENTS", "10"))
KILLED = -9
STATE, SPACE = 10, 12  # exit codes


def command(harm: str, number: int, argument: Path | str, verb: str, *rest: Path) -> list[str]:
    return [sys.executable, str(SCRIPT), harm, str(number), str(argument), verb, *map(str, rest)]


def harmed(harm: str, number: int, argument: Path | str, verb: str, *rest: Path) -> subprocess.CompletedProcess[str]:
    line = command(harm, number, argument, verb, *rest)
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=120)


def moments(tmp_path: Path, name: str, verb: str, *rest: Path) -> list[int]:
    """Seeded moments of a run, its first and its last ones among them; the run is made once, whole, to count them."""
    counted = harmed("count", 0, tmp_path / "count", verb, *rest)
    assert counted.returncode == 0, counted.stderr
    count = int((tmp_path / "count").read_text())
    assert count > 40
    chance = random.Random(f"{name} {os.environ.get('AIRLOCK_SEED', '1')}")
    return sorted({1, *chance.sample(range(2, count - 3), MOMENTS - 4), count - 3, count - 1, count})


def imported(bundle: Path, site: Site) -> None:
    import_bundle(bundle, site, expect=None, allow_older=False, reporter=QUIET)


def test_a_bundle_killed_at_any_moment_is_finished_by_the_same_command(tmp_path: Path) -> None:
    trial = make_sample(tmp_path / "trial", size=40_000)
    whole = tmp_path / "whole"
    killed = 0
    for moment in moments(tmp_path, "bundle", "bundle", trial.factory.root, trial.definition.path, whole):
        root = tmp_path / f"at{moment}"
        sample = make_sample(root, size=40_000)
        media = root / "media"
        place = (sample.factory.root, sample.definition.path, media)
        killed += harmed("kill", moment, "-", "bundle", *place).returncode == KILLED
        folder = media / "stream-r1"
        if folder.exists() and not (folder / "MANIFEST.json").exists():
            with pytest.raises(IncompleteError, match=r"no MANIFEST\.json"):
                verify_bundle(folder, QUIET)
        elif folder.exists():
            verify_bundle(folder, QUIET)  # the manifest came last
        assert harmed("count", 0, root / "count", "bundle", *place).returncode == 0
        verify_bundle(folder, QUIET)
        subprocess.run(["sha256sum", "--strict", "--status", "-c", "SHA256SUMS"], cwd=folder, check=True)
        assert [path.name for path in media.iterdir()] == ["stream-r1"]
        ledger.verify_chain(sample.factory.ledger)
        serials = [entry for entry in ledger.entries(sample.factory.ledger) if entry.verb == "serial"]
        assert [entry.data["serial"] for entry in serials] == [1]
    assert killed >= MOMENTS - 3  # two threads do not count to the same number each time


def test_an_import_killed_at_any_moment_leaves_older_bundles_and_is_finished(tmp_path: Path) -> None:
    media = tmp_path / "media"
    first = Path(make_sample(tmp_path, size=40_000, count=4).bundle(media).path)
    second = Path(make_sample(tmp_path, size=40_000, count=12).bundle(media).path)
    trial = make_site(tmp_path / "trial")
    imported(first, trial)
    killed = 0
    all_moments = moments(tmp_path, "import", "import", trial.root, second)
    expected = tree(trial.artifacts).keys()
    for moment in all_moments:
        site = make_site(tmp_path / f"at{moment}")
        store = DirectoryStore(site.artifacts)
        imported(first, site)
        killed += harmed("kill", moment, "-", "import", site.root, second).returncode == KILLED
        open_bundle(store, "stream-r1").check(QUIET)
        if "stream-r2" in [one.id for one in list_bundles(store)]:
            open_bundle(store, "stream-r2").check(QUIET)  # committed means whole
        assert harmed("count", 0, site.root / "count", "import", site.root, second).returncode == 0
        for ident in ("stream-r1", "stream-r2"):
            open_bundle(store, ident).check(QUIET)
        assert tree(site.artifacts).keys() == expected
        ledger.verify_chain(site.ledger)
        told = {entry.hash for entry in ledger.entries(site.ledger)}
        assert {one.ledger for one in list_bundles(store)} <= told
    assert killed >= MOMENTS - 3


def test_what_arrived_before_the_kill_is_not_written_again(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, size=40_000, count=12)
    media = tmp_path / "media"
    place = (sample.factory.root, sample.definition.path, media)
    assert harmed("count", 0, tmp_path / "count", "bundle", *place).returncode == 0
    last = int((tmp_path / "count").read_text())
    again = make_sample(tmp_path / "again", size=40_000, count=12)
    media = tmp_path / "again" / "media"
    assert (
        harmed("kill", last - 12, "-", "bundle", again.factory.root, again.definition.path, media).returncode == KILLED
    )
    there = {path: path.stat().st_mtime_ns for path in media.glob("*/pool/*/*") if path.suffix != ".part"}
    assert len(there) > 6
    again.bundle(media)
    assert {path: path.stat().st_mtime_ns for path in there} == there


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of the test's own, 48 MiB, on a loop device."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as stream:
        stream.truncate(48 << 20)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", "2000", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting wants root")


@needs_root
def test_media_that_are_too_small_are_refused_before_the_first_byte(small_disk: Path, tmp_path: Path) -> None:
    sample = make_sample(tmp_path, count=8, size=10 << 20)
    done = harmed("count", 0, tmp_path / "count", "bundle", sample.factory.root, sample.definition.path, small_disk)
    assert done.returncode == SPACE, done.stderr
    assert not (small_disk / "stream-r1").exists()


@needs_root
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.85])
def test_media_that_fill_up_midway_are_gone_on_with(small_disk: Path, tmp_path: Path, share: float) -> None:
    sample = make_sample(tmp_path, count=12, size=1 << 20)
    place = (sample.factory.root, sample.definition.path)
    assert harmed("count", 0, tmp_path / "count", "bundle", *place, tmp_path / "elsewhere").returncode == 0
    moment = int(int((tmp_path / "count").read_text()) * share)
    done = harmed("fill", moment, small_disk, "bundle", *place, small_disk)
    assert done.returncode == SPACE, done.stderr
    assert "full" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (small_disk / "stream-r1" / "MANIFEST.json").exists()
    (small_disk / "filler").unlink()
    sample.bundle(small_disk)
    verify_bundle(small_disk / "stream-r1", QUIET)


@needs_root
@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_a_store_that_fills_up_midway_keeps_what_it_had(small_disk: Path, tmp_path: Path, share: float) -> None:
    media = tmp_path / "media"
    first = Path(make_sample(tmp_path, size=1000, count=4).bundle(media).path)
    second = Path(make_sample(tmp_path, size=1 << 20, count=12).bundle(media).path)
    trial = make_site(tmp_path / "trial")
    imported(first, trial)
    assert harmed("count", 0, tmp_path / "count", "import", trial.root, second).returncode == 0
    moment = int(int((tmp_path / "count").read_text()) * share)
    site = make_site(small_disk / "site")
    imported(first, site)
    done = harmed("fill", moment, small_disk, "import", site.root, second)
    assert done.returncode == SPACE, done.stderr
    store = DirectoryStore(site.artifacts)
    open_bundle(store, "stream-r1").check(QUIET)
    assert [one.id for one in list_bundles(store)] == ["stream-r1"]
    (small_disk / "filler").unlink()
    imported(second, site)
    open_bundle(store, "stream-r2").check(QUIET)


def test_of_two_importers_at_once_one_waits_for_nothing_and_says_so(tmp_path: Path) -> None:
    media = tmp_path / "media"
    bundle = Path(make_sample(tmp_path, count=6).bundle(media).path)
    site = make_site(tmp_path / "site")
    assert harmed("count", 0, tmp_path / "count", "import", make_site(tmp_path / "trial").root, bundle).returncode == 0
    gate = tmp_path / "gate"
    middle = int((tmp_path / "count").read_text()) - 20
    with subprocess.Popen(command("pause", middle, gate, "import", site.root, bundle)) as slow:
        deadline = time.monotonic() + 60
        while not gate.exists():
            assert time.monotonic() < deadline
            assert slow.poll() is None
            time.sleep(0.01)
        second = harmed("count", 0, tmp_path / "count", "import", site.root, bundle)
        gate.unlink()
        assert slow.wait(60) == 0
    assert second.returncode == STATE
    assert "another airlock process" in second.stderr
    open_bundle(DirectoryStore(site.artifacts), "stream-r1").check(QUIET)
    assert len(list(ledger.entries(site.ledger))) == 1


def test_importers_that_race_leave_one_whole_import(tmp_path: Path) -> None:
    media = tmp_path / "media"
    bundle = Path(make_sample(tmp_path, count=6).bundle(media).path)
    site = make_site(tmp_path / "site")
    line = command("count", 0, tmp_path / "count", "import", site.root, bundle)
    racers = [subprocess.Popen(line, stderr=subprocess.DEVNULL) for _ in range(4)]
    codes = sorted(racer.wait(60) for racer in racers)
    assert codes[0] == 0
    assert set(codes) <= {0, STATE}
    open_bundle(DirectoryStore(site.artifacts), "stream-r1").check(QUIET)
    assert len(list(ledger.entries(site.ledger))) == 1


def test_two_writers_of_one_factory_do_not_meet(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, count=6)
    place = (sample.factory.root, sample.definition.path, tmp_path / "m")
    line = command("count", 0, tmp_path / "count", "bundle", *place)
    racers = [subprocess.Popen(line, stderr=subprocess.DEVNULL) for _ in range(4)]
    codes = sorted(racer.wait(60) for racer in racers)
    assert codes[0] == 0
    assert set(codes) <= {0, STATE}
    verify_bundle(tmp_path / "m" / "stream-r1", QUIET)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["stream-r1"]
