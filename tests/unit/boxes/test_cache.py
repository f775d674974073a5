"""What is made once a machine: whole or not at all, and by one at a time."""

from __future__ import annotations

import threading
import time

import pytest
from boxes.cache import made_once

from airlock.core.errors import SpaceError


def test_a_thing_is_made_once(tmp_path):
    made = []

    def make(path):
        made.append(path)
        path.mkdir()
        (path / "file").write_text("whole")

    for _ in range(2):
        assert (made_once(tmp_path / "thing", make, needed=0) / "file").read_text() == "whole"
    assert len(made) == 1


def test_what_was_broken_off_is_made_again_from_nothing(tmp_path):
    (tmp_path / "thing.part").mkdir()
    (tmp_path / "thing.part/half").touch()

    def make(path):
        path.mkdir()
        (path / "file").touch()

    thing = made_once(tmp_path / "thing", make, needed=0)
    assert [path.name for path in thing.iterdir()] == ["file"]


def test_a_failure_leaves_nothing_under_its_name(tmp_path):
    def make(path):
        path.write_text("half")
        raise SpaceError("full")

    with pytest.raises(SpaceError):
        made_once(tmp_path / "thing", make, needed=0)
    assert not (tmp_path / "thing").exists()


def test_two_at_once_make_it_once(tmp_path):
    made = []

    def make(path):
        made.append(path)
        time.sleep(0.05)
        path.touch()

    threads = [threading.Thread(target=made_once, args=(tmp_path / "thing", make), kwargs={"needed": 0}) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_full_disk_is_seen_before_it_is_made(tmp_path):
    with pytest.raises(SpaceError, match="thing needs"):
        made_once(tmp_path / "thing", lambda path: path.touch(), needed=1 << 60)
