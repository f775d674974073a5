"""A Nexus that is killed, an importer that is killed, a disk that fills up: the same command again finishes."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from boxes.nexus import IMPORTER
from tests.bundle_samples import QUIET, make_sample
from tests.integration.bundle.test_interrupted import KILLED, harmed
from tests.integration.nexus.conftest import Repository, kill
from tests.integration.nexus.test_importing import bring, whole

from airlock.bundle.stored import list_bundles, open_bundle
from airlock.core.errors import SpaceError, UpstreamError
from airlock.core.progress import SilentReporter, Task
from airlock.evidence import ledger
from airlock.store import nexus_client

COPYING = "copying into the store"


class Watching(SilentReporter):
    """Does something once, when so many files of a task are done."""

    def __init__(self, title: str, number: int, action: Callable[[], None]) -> None:
        self._title, self._left, self._action = title, number, action
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "bytes") -> Iterator[Task]:
        with super().task(title, total, unit=unit) as silent:
            yield self if title == self._title else silent

    def advance(self, amount: int, note: str = "") -> None:
        self._left -= 1
        if self._left == 0:
            self._action()


def test_a_server_killed_in_the_middle_is_waited_for_and_what_it_forgot_is_put_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nexus_client, "PATIENCE", 240.0)  # this machine may have more to do than a site's
    nexus, media = repository.nexus, tmp_path / "media"
    first = Path(make_sample(tmp_path, count=4).bundle(media).path)
    second = Path(make_sample(tmp_path, count=120, size=20_000).bundle(media).path)
    site = repository.site()
    bring(first, site)
    starting = threading.Thread(target=nexus.start)

    def restart() -> None:
        kill(nexus)
        starting.start()

    reporter = Watching(COPYING, 30, restart)
    bring(second, site, reporter)  # it goes on by itself
    starting.join()
    assert any("went away" in said for said in reporter.said)
    whole(repository, "stream-r1", "stream-r2")


@pytest.mark.usefixtures("hasty")
def test_an_importer_killed_at_any_moment_is_finished_by_the_same_command(
    repository: Repository, make_repository: Callable[[], Repository], tmp_path: Path
) -> None:
    media = tmp_path / "media"
    first = Path(make_sample(tmp_path, count=4).bundle(media).path)
    second = Path(make_sample(tmp_path, count=24, size=4000).bundle(media).path)
    site = repository.site()
    bring(first, site)
    counted = harmed("count", 0, tmp_path / "count", "import", make_repository().site("trial").root, second)
    assert counted.returncode == 0, counted.stderr
    last = int((tmp_path / "count").read_text())
    killed = 0
    for moment in (last - 30, last - 12, last - 4, last - 1):  # sources are opened, the ledger is written
        killed += harmed("kill", moment, "-", "import", site.root, second).returncode == KILLED
        with repository.store() as store:
            committed = [one.id for one in list_bundles(store)]
            assert "stream-r1" in committed
            for ident in committed:
                open_bundle(store, ident).check(QUIET)  # committed means whole
    bring(second, site)
    whole(repository, "stream-r1", "stream-r2")
    assert killed >= 2
    ledger.verify_chain(site.ledger)
    told = {entry.hash for entry in ledger.entries(site.ledger)}
    with repository.store() as store:
        assert {one.ledger for one in list_bundles(store)} <= told


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An ext4 file system of the test's own, 64 MiB, on a loop device."""
    if os.geteuid() != 0:
        pytest.skip("mounting wants root")
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    with image.open("wb") as stream:
        stream.truncate(64 << 20)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        subprocess.run(["mountpoint", "-q", str(place)], check=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.usefixtures("hasty")
def test_a_disk_that_is_full_is_told_and_the_import_goes_on_when_it_is_not(
    repository: Repository, small_disk: Path, tmp_path: Path
) -> None:
    bundle = Path(make_sample(tmp_path, count=60, size=700_000).bundle(tmp_path / "media").path)
    nexus, name = repository.nexus, f"small-{repository.name}"
    nexus.rest().call("POST", "/blobstores/file", {"name": name, "path": str(small_disk / "blobs")})
    like = nexus.rest().call("GET", f"/repositories/raw/hosted/{repository.name}").json()
    storage = like["storage"] | {"blobStoreName": name}
    nexus.rest().call("POST", "/repositories/raw/hosted", like | {"name": name, "storage": storage})
    small = replace(repository, name=name, login=nexus.make_user(f"{name}-importer", name, IMPORTER))
    site = small.site()

    def fill() -> None:
        with (small_disk / "filler").open("wb", buffering=0) as stream:
            try:
                while stream.write(bytes(1 << 16)):
                    pass
            except OSError:
                os.sync()

    try:
        with pytest.raises(UpstreamError, match=r"could not store it.*500.*pool/") as caught:
            bring(bundle, site, Watching(COPYING, 3, fill))
        assert "full disk" in caught.value.remedy
        small.allow(*IMPORTER, more=("nx-blobstores-read", f"nx-repository-admin-raw-{name}-read"))
        with pytest.raises(SpaceError, match="whose blob store has"):  # now it can be told, and before the first byte
            bring(bundle, site)
        (small_disk / "filler").unlink()
        with pytest.raises(SpaceError, match=r"could not store it.*MB free"):
            bring(bundle, site, Watching(COPYING, 1, fill))
        (small_disk / "filler").unlink()
        bring(bundle, site)
        whole(small, "stream-r1")
    finally:
        nexus.rest().ask("DELETE", f"/repositories/{name}")
        nexus.rest().ask("DELETE", f"/blobstores/{name}")
