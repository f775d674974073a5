"""The programs that Zuul's roles run on a node, with real processes and files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.zuul_roles import role_file

from airlock.zuul.order import PARAMETER, Order

Start = Callable[..., subprocess.Popen[str]]
BUILD = "import signal, sys, time; signal.signal(signal.SIGTERM, {}); print('up', flush=True); time.sleep(60)"
LEAVES = BUILD.format("lambda *_: sys.exit(130)")
STAYS = BUILD.format("signal.SIG_IGN")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that looks like a build, and ends what is left of it."""
    started: list[subprocess.Popen[str]] = []

    def begin(code: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def end(word: str, patience: float = 20) -> subprocess.CompletedProcess[str]:
    """As the role runs it: read from standard input."""
    program = role_file("airlock-end", "airlock_end").read_text()
    command = [sys.executable, "-", word, str(patience)]
    return subprocess.run(command, input=program, capture_output=True, text=True, check=False, timeout=60)


def test_exactly_the_build_of_that_buildset_is_ended_as_by_ctrl_c(start: Start) -> None:
    mine, other = f"--detail=buildset={uuid.uuid4().hex}", f"--detail=buildset={uuid.uuid4().hex}"
    build, second = start(LEAVES, "build", mine), start(LEAVES, "build", other)
    nobody = start(LEAVES, "status", mine)
    result = end(mine)
    assert result.returncode == 0, result.stderr
    assert f"process {build.pid}" in result.stdout
    assert build.wait(5) == 130
    assert second.poll() is None
    assert nobody.poll() is None


def test_a_build_that_begins_a_moment_later_is_ended_too(start: Start) -> None:
    word = f"--detail=buildset={uuid.uuid4().hex}"
    program = role_file("airlock-end", "airlock_end").read_text()
    with subprocess.Popen([sys.executable, "-", word, "20"], stdin=subprocess.PIPE, text=True) as ending:
        assert ending.stdin
        ending.stdin.write(program)
        ending.stdin.close()
        time.sleep(0.7)
        build = start(LEAVES, "build", word)
        assert ending.wait(30) == 0
    assert build.wait(5) == 130


def test_one_that_does_not_end_is_killed_and_that_is_said(start: Start) -> None:
    word = f"--detail=buildset={uuid.uuid4().hex}"
    build = start(STAYS, "build", word)
    result = end(word, patience=0.5)
    assert result.returncode == 1
    assert "was killed; the next build removes its room" in result.stderr
    assert build.wait(5) == -signal.SIGKILL


def test_nothing_to_end_is_no_error() -> None:
    result = end(f"--detail=buildset={uuid.uuid4().hex}")
    assert (result.returncode, result.stdout.strip()) == (0, "no build is running")


def find(site: Path, buildset: str) -> subprocess.CompletedProcess[str]:
    program = role_file("airlock-record", "airlock_record").read_text()
    command = [sys.executable, "-", f"--site={site}", f"--buildset={buildset}"]
    return subprocess.run(command, input=program, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("state", ["", 'state = "elsewhere"\n'])
def test_the_record_of_a_buildset_is_found_where_the_site_keeps_it(tmp_path: Path, state: str) -> None:
    (tmp_path / "site.toml").write_text(f'name = "x"\n{state}')
    records = tmp_path / ("elsewhere" if state else ".") / "records"
    for name, trigger in (("b1", {"details": {"buildset": "s1"}}), ("b2", {"details": {"buildset": "s2"}}), ("b3", {})):
        (records / name).mkdir(parents=True)
        (records / name / "record.json").write_text(json.dumps({"trigger": trigger}))
    (records / "cut off").mkdir()
    (records / "torn").mkdir()
    (records / "torn/record.json").write_text('{"trigg')
    assert find(tmp_path, "s2").stdout.strip() == str((records / "b2").resolve())
    assert find(tmp_path / "site.toml", "s1").stdout.strip() == str((records / "b1").resolve())
    missing = find(tmp_path, "s3")
    assert (missing.returncode, missing.stdout) == (0, "")


def test_a_site_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = find(tmp_path, "s1")
    assert result.returncode == 1
    assert "the site's records cannot be read" in result.stderr


def become(tmp_path: Path, commit: str, order: str) -> subprocess.CompletedProcess[str]:
    command = tmp_path / "airlock"
    command.write_text("#!/bin/sh\nenv\nprintf '<%s>\\n' \"$@\"\ncat\n")
    command.chmod(0o755)
    program = role_file("airlock-build", "airlock_build").read_text()
    words = [f"--command={command}", "--site=/site", f"--order={order}", f"--commit={commit}", "--detail=buildset=s1"]
    environment = os.environ | {"SECRET": "x"}
    return subprocess.run(
        [sys.executable, "-", *words], input=program, capture_output=True, text=True, check=False, env=environment
    )


def test_the_program_becomes_the_build_with_what_was_ordered_and_nothing_of_its_own_environment(tmp_path: Path) -> None:
    reason = "{{ lookup('pipe', 'id') }} $(id) `id` \"it's\"\nsecond line"
    order = Order(
        id="1", bundle="x-r1", reason=reason, requester="olga", account="root", host="here", project="openstack/kolla",
        ref="refs/heads/x", commit="a" * 40, git="kolla",
    )  # fmt: skip
    result = become(tmp_path, "a" * 40, order.parameters()[PARAMETER])
    assert result.returncode == 0, result.stdout
    assert "SECRET" not in result.stdout
    assert "<build>" in result.stdout
    assert f"<--reason={reason}>" in result.stdout
    assert f"<--git=kolla={'a' * 40}>" in result.stdout
    other = become(tmp_path, "b" * 40, order.parameters()[PARAMETER])
    assert other.returncode == 10
    assert f"Zuul was given commit {'b' * 40}; {'a' * 40} was ordered" in other.stdout


def test_without_an_order_it_says_who_starts_it(tmp_path: Path) -> None:
    result = become(tmp_path, "a" * 40, "")
    assert result.returncode == 2
    assert "this job is started by `airlock trigger build`" in result.stdout
