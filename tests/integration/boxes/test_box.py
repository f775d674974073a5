"""A box as such: started, adopted, ended with all that is its own, and told of when it fails."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from boxes.box import STARTED, read_started, stop_started
from boxes.network import HOST
from boxes.processes import Process, look
from boxes.registry import Registry
from boxes.together import start_all
from tests.small_boxes import STARTER, Script, Web

from airlock.core.errors import SpaceError, StateError, ToolError
from airlock.core.process import run


@pytest.fixture
def port() -> int:
    return HOST.free_port()


def noted(path: Path) -> Process:
    """The process whose pid a script wrote into a file."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            if process := look(int(path.read_text())):
                return process
        time.sleep(0.02)
    raise AssertionError(f"{path} names no process")


def test_a_started_box_answers_and_a_stopped_one_leaves_nothing(tmp_path, port):
    with Web(tmp_path, port) as box:
        assert HOST.accepts(port)
        members = box.members()
        assert members == {box.process}
    assert not any(process.alive for process in members)
    assert not HOST.port_taken(port)
    assert not box.running
    box.stop()


def test_a_box_that_runs_is_taken_as_it_is(tmp_path, port):
    with Web(tmp_path, port) as box:
        again = Web(tmp_path, port).start()
        assert again.process == box.process is not None


def test_another_command_line_is_another_server(tmp_path, port):
    with Web(tmp_path, port) as box:
        first = box.process
        assert first is not None
        other = HOST.free_port()
        with Web(tmp_path, other) as moved:
            assert moved.process != first
            assert not first.alive
            assert HOST.accepts(other)


def test_its_environment_holds_nothing_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_USER", "1")
    with Script(tmp_path, "env > seen; touch ready; exec sleep 60"):
        seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert set(seen) - {"PWD"} == {"PATH", "LC_ALL", "HOME", "TMPDIR", "AIRLOCK_BOX"}
    assert seen["HOME"] == f"{tmp_path}/home"
    assert seen["TMPDIR"] == f"{tmp_path}/tmp"


def test_what_left_the_session_ends_with_its_box(tmp_path):
    script = "setsid sh -c 'echo $$ > far; exec sleep 600' & touch ready; exec sleep 600"
    with Script(tmp_path, script):
        far = noted(tmp_path / "far")
        assert os.getsid(far.pid) == far.pid
    assert not far.alive


def test_what_hides_its_environment_ends_with_its_box(tmp_path):
    # As sshd does for a session: a new session, and an environment without the mark.
    script = "env -i setsid sh -c 'echo $$ > far; exec sleep 600' & touch ready; wait"
    with Script(tmp_path, script):
        far = noted(tmp_path / "far")
    assert not far.alive


def test_what_a_server_leaves_behind_is_asked_before_it_is_killed(tmp_path):
    # The first process goes at once; the other one has something to write down.
    other = "setsid sh -c 'trap \"touch ended; exit\" TERM; echo $$ > far; while :; do sleep 0.1; done'"
    with Script(tmp_path, f"{other} & touch ready; exec sleep 600"):
        noted(tmp_path / "far")
    assert (tmp_path / "ended").exists()


def test_a_server_that_does_not_end_is_killed(tmp_path):
    box = Script(tmp_path, "trap '' TERM; echo $$ > deaf; touch ready; while :; do sleep 1; done").start()
    deaf = noted(tmp_path / "deaf")
    began = time.monotonic()
    box.stop()
    assert box.grace <= time.monotonic() - began < 8
    assert not deaf.alive


def kill_its_starter(folder: Path, port: int) -> Process:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(folder), str(port)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter.stdout:
        assert starter.stdout.readline() == b"up\n"
    starter.kill()
    assert starter.wait() == -signal.SIGKILL
    left = read_started(folder)
    assert left is not None
    assert left.process.alive
    return left.process


def test_a_start_after_its_starter_was_killed_takes_over(tmp_path, port):
    left = kill_its_starter(tmp_path, port)
    with Web(tmp_path, port) as box:
        assert box.process == left
    assert not left.alive


def test_a_program_of_a_start_that_was_killed_ends_with_the_next_one(tmp_path):
    code = f"""import sys, pathlib
sys.path[:0] = {sys.path!r}
from tests.small_boxes import Script
class Initialised(Script):
    def prepare(self):
        self.call(["/bin/sh", "-c", "echo $$ > init; exec sleep 600"], timeout=600)
Initialised(pathlib.Path(sys.argv[1]), "sleep 600").start()
"""
    starter = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    init = noted(tmp_path / "init")
    starter.kill()
    starter.wait()
    assert init.alive
    with Script(tmp_path, "touch ready; exec sleep 600"):
        assert not init.alive


def test_what_nobody_wrote_down_is_found_by_its_mark(tmp_path, port):
    left = kill_its_starter(tmp_path, port)
    (tmp_path / STARTED).unlink()
    with Web(tmp_path, port) as box:
        assert box.process != left
        assert not left.alive
        assert HOST.accepts(port)


def test_a_stale_note_is_cleared_and_harms_nobody(tmp_path, port):
    box = Web(tmp_path, port).start()
    note = (tmp_path / STARTED).read_bytes()
    box.stop()
    stranger = subprocess.Popen(["/bin/sleep", "60"])
    try:
        noted_pid = f'"pid":{stranger.pid},'.encode()
        old_pid = note[note.index(b'"pid"') : note.index(b'"began"')]
        (tmp_path / STARTED).write_bytes(note.replace(old_pid, noted_pid))
        with Web(tmp_path, port) as box:
            assert HOST.accepts(port)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_box_is_stopped_by_its_folder_alone(tmp_path, port):
    box = Web(tmp_path, port).start()
    stop_started(tmp_path)
    assert not box.running
    assert not HOST.port_taken(port)
    stop_started(tmp_path)


def test_a_taken_port_is_named_with_who_has_it(tmp_path, port):
    with Web(tmp_path / "first", port) as first:
        with pytest.raises(StateError) as caught:
            Registry(tmp_path / "second", port=port).start()
        assert first.process is not None
        assert f"127.0.0.1:{port}: python3 (process {first.process.pid}) listens" in caught.value.message
    assert "another port" in caught.value.remedy


def test_a_server_that_dies_at_its_start_is_quoted(tmp_path):
    box = Script(tmp_path, "for n in $(seq 30); do echo line $n; done; echo 'cannot read my configuration' >&2; exit 3")
    with pytest.raises(ToolError) as caught:
        box.start()
    assert "ended before it was ready" in caught.value.message
    assert caught.value.message.endswith("line 30\n  cannot read my configuration")
    assert str(tmp_path / "script.log") in caught.value.message
    assert "line 1\n" not in caught.value.message
    assert not (tmp_path / STARTED).exists()


def test_a_server_that_never_is_ready_is_ended(tmp_path):
    box = Script(tmp_path, "echo thinking; echo $$ > slow; exec sleep 600")
    box.deadline = 1.0  # type: ignore[misc]
    with pytest.raises(ToolError, match=r"is not ready 1 s after its start\n.*\n  thinking"):
        box.start()
    assert look(int((tmp_path / "slow").read_text())) is None


def test_a_full_disk_is_told_as_such_by_its_log(tmp_path):
    box = Script(tmp_path, "echo 'write failed: No space left on device'; exit 1")
    with pytest.raises(SpaceError, match="No space left"):
        box.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_small_disk_is_seen_before_the_start(tmp_path, port):
    run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", tmp_path], check=True)
    try:
        with pytest.raises(SpaceError, match=r"registry needs \d+ MB at"):
            Registry(tmp_path, port=port).start()
    finally:
        run(["umount", tmp_path], check=True)


def test_a_disk_that_fills_up_meanwhile_is_told_as_such(tmp_path):
    class Full(Script):
        def prepare(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SpaceError, match="what script needs could not be written"):
        Full(tmp_path, "").start()


def test_two_starts_of_one_box_do_not_meet(tmp_path):
    box = Script(tmp_path, "sleep 600")
    given_up = threading.Event()
    failures: list[BaseException] = []

    def wait() -> None:
        try:
            box.start(given_up)
        except StateError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not (tmp_path / STARTED).exists():
        time.sleep(0.02)
    with pytest.raises(StateError, match="is being changed"):
        Script(tmp_path, "sleep 600").start()
    given_up.set()
    thread.join()
    assert "was given up" in str(failures[0])
    assert not box.running


def test_of_several_boxes_all_run_or_none(tmp_path, port):
    before = Web(tmp_path / "before", port).start()
    try:
        other = Web(tmp_path / "other", HOST.free_port())
        with pytest.raises(ToolError, match="no such thing"):
            start_all([before, other, Script(tmp_path / "bad", "echo no such thing; exit 1")])
        assert before.running
        assert not other.running
    finally:
        before.stop()
