"""``validate --explain`` and ``--why``, as typed: answers from the lock alone, in under a second."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bundle_samples import make_sample

AIRLOCK = str(Path(sys.executable).with_name("airlock"))


def ask(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([AIRLOCK, "validate", *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def definition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("sample")).definition.folder


def test_an_image_is_explained_without_any_factory(definition: Path, tmp_path: Path) -> None:
    said = ask("--explain", "keystone", "--factory", tmp_path / "none", definition)
    assert said.returncode == 0, said.stderr
    assert "line 3  apt: install everything" in said.stdout
    (found,) = json.loads(ask("--explain", "keystone", "--json", definition).stdout)
    assert (found["image"]["name"], found["chain"]) == ("keystone", [])
    assert found["whole"]["size"] == sum(one["size"] for one in found["demands"][0]["artifacts"])


def test_why_a_file_is_there(definition: Path) -> None:
    (found,) = json.loads(ask("--explain", "keystone", "--json", definition).stdout)
    for artifact in found["demands"][0]["artifacts"]:
        reason = json.loads(ask("--why", artifact["id"], "--json", definition).stdout)
        assert reason["artifact"] == artifact
        assert [one["image"] for one in reason["asked"]] == ["keystone"]


@pytest.mark.parametrize(
    "words", [["--explain", "keystome"], ["--why", "no-such-thing"], ["--why", "a", "--explain", "b"]]
)
def test_an_unknown_name_is_an_error_of_usage(definition: Path, words: list[str]) -> None:
    said = ask(*words, definition)
    assert said.returncode == 2
    assert "→" in said.stderr or "one at a time" in said.stderr


def test_a_question_takes_less_than_a_second(definition: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ask("--explain", "keystone", definition)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)  # its own time: this machine may have other work
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
