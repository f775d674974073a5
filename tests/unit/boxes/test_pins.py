"""What boxes download is pinned."""

from __future__ import annotations

import re

import pytest
from boxes.cache import ROOT
from boxes.java import pinned

from airlock.core.digest import is_sha256


@pytest.mark.parametrize("server", ["nexus", "gerrit"])
def test_every_archive_is_one_version_and_one_sha256(server):
    found = pinned(server)
    assert found
    for archive in found:
        assert is_sha256(archive.sha256)
        assert re.fullmatch(r"[\w.-]+", archive.version)
    assert len({archive.sha256 for archive in found}) == len(found)


def test_java_is_pinned_by_hash():
    lines = (ROOT / "requirements/boxes.txt").read_text("utf-8").splitlines()
    packages = [line for line in lines if not line.startswith(" ")]
    assert packages
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ \\", line) for line in packages)
    assert sum("--hash=sha256:" in line for line in lines) >= len(packages)
