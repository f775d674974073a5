"""What Maven brings is checked against its pin."""

from __future__ import annotations

import pytest
from boxes import java
from boxes.cache import VARIABLE

from airlock.core.errors import IntegrityError, UpstreamError

pytestmark = pytest.mark.full
SMALL = "javax.inject:javax.inject:1:jar"
SMALL_SHA256 = "91c77044a50c481636c32d916fd89c9118a72195390452c81065080f957de7ff"


@pytest.fixture
def pin(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(java, "PINS", tmp_path / "pins.toml")

    def write(coordinates: str, sha256: str) -> None:
        java.PINS.write_text(f'[[small]]\ncoordinates = "{coordinates}"\nsha256 = "{sha256}"\n')

    return write


def test_an_archive_is_fetched_once(pin, monkeypatch):
    pin(SMALL, SMALL_SHA256)
    (first,) = java.archives("small")
    monkeypatch.setattr(java, "find_tool", lambda *_: "/bin/false")
    assert java.archives("small") == [first]
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_another_file_than_the_pinned_one_is_refused(pin):
    pin(SMALL, "0" * 64)
    with pytest.raises(IntegrityError, match=f"javax.inject-1.jar: sha256 {SMALL_SHA256}"):
        java.archives("small")
    assert not list((java.cache() / "archives").iterdir())


def test_an_archive_that_is_nowhere_is_named(pin):
    pin("org.example.nowhere:nothing:1:jar", "0" * 64)
    with pytest.raises(UpstreamError, match=r"nothing-1\.jar"):
        java.archives("small")
