"""What Maven brings is checked against its pin."""

from __future__ import annotations

import pytest
from boxes.java import Archive, fetched

from airlock.core.errors import IntegrityError, UpstreamError

pytestmark = pytest.mark.full
SHA256 = "91c77044a50c481636c32d916fd89c9118a72195390452c81065080f957de7ff"


def small(sha256: str) -> Archive:
    return Archive("javax.inject", "javax.inject", "1", "jar", sha256)


def test_an_archive_is_fetched_once(tmp_path):
    place = tmp_path / "archives"
    (first,) = fetched([small(SHA256)], place)
    before = first.stat()
    assert fetched([small(SHA256)], place) == [first]
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "archives.lock"]


def test_another_file_than_the_pinned_one_is_refused(tmp_path):
    place = tmp_path / "archives"
    with pytest.raises(IntegrityError, match=f"javax.inject-1.jar: sha256 {SHA256}"):
        fetched([small("0" * 64)], place)
    assert not list(place.iterdir())


def test_an_archive_that_is_nowhere_is_named(tmp_path):
    with pytest.raises(UpstreamError, match=r"nothing-1\.jar"):
        fetched([Archive("org.example.nowhere", "nothing", "1", "jar", "0" * 64)], tmp_path / "archives")
