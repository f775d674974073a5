"""A Nexus that stays away: an import and a build say so; when it is back, the same command goes on from there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.bundle_samples import make_sample
from tests.integration.nexus.conftest import Repository, kill
from tests.integration.nexus.test_building import ask, needs_root, opened
from tests.integration.nexus.test_importing import bring, whole
from tests.integration.nexus.test_killed import COPYING, Watching

from airlock.build.workshop import blamed
from airlock.bundle.stored import open_bundle
from airlock.core.errors import BuildError, UpstreamError
from airlock.store import nexus_client
from airlock.store.artifacts import store_path


@needs_root
async def test_one_that_stays_away_is_named_and_the_same_command_goes_on_when_it_is_back(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nexus, media = repository.nexus, tmp_path / "media"
    sample = make_sample(tmp_path, count=4)
    first = Path(sample.bundle(media).path)
    second = Path(make_sample(tmp_path, count=60, size=20_000).bundle(media).path)
    site = repository.site()
    bring(first, site)
    monkeypatch.setattr(nexus_client, "PATIENCE", 1.0)
    with repository.store() as store:
        _, opening = opened(open_bundle(store, "stream-r1"), tmp_path)
        async with opening as room:  # type: ignore[attr-defined]
            room.image = "keystone"
            assert (await ask(room, "/pypi/simple/"))[0] == 0

            with pytest.raises(UpstreamError, match="connection") as caught:
                bring(second, site, Watching(COPYING, 20, lambda: kill(nexus)))
            assert nexus.address in caught.value.message
            assert "nexus.log" in caught.value.remedy

            began = time.monotonic()
            for one in sample.lock.artifacts:
                assert (await ask(room, f"/{store_path(one.sha256, one.file)}"))[0] == 22  # it got an error, at once
            assert time.monotonic() - began < 10
            report, failures = room.report(), room.failures
    assert {(one.status, one.image) for one in report.missing} == {(502, "keystone")}
    assert len(report.missing) == len(failures) == len(sample.lock.artifacts)
    error = blamed(BuildError("image keystone failed", remedy="Its log is x."), failures)
    assert isinstance(error, UpstreamError)
    assert nexus.address in error.message
    assert error.message.endswith("; so image keystone failed")
    assert "Its log is x." in error.remedy

    monkeypatch.undo()
    nexus.start()
    whole(repository, "stream-r1")  # what counted still does
    bring(second, site)
    whole(repository, "stream-r1", "stream-r2")
