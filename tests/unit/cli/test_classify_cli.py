"""The verb ``classify``: every command of a file, and an exit code for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from airlock.cli.classify import classify

BASE = """\
FROM debian:bookworm
ADD openstack-base-archive /openstack-base-source
RUN ln -s openstack-base-source/* /requirements
"""
KEYSTONE = """\
FROM kolla/base:18.8.0
COPY extend_start.sh /usr/local/bin/
RUN apt-get update \\
    && python3 -m pip install -c /requirements/upper-constraints.txt keystone
"""
app = typer.Typer()
app.command()(classify)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two images as Kolla lays them out: base, and keystone in a folder of its service."""
    for name, text in (("base", BASE), ("keystone/keystone", KEYSTONE)):
        (tmp_path / "docker" / name).mkdir(parents=True)
        (tmp_path / "docker" / name / "Dockerfile").write_text(text)
    return tmp_path / "docker"


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout


def test_a_file_whose_commands_are_all_known_exits_with_zero(tree):
    code, text = run(tree / "base/Dockerfile")
    assert code == 0
    assert "demand source-add" in text
    assert "0 unclassified" in text


def test_the_parent_is_found_beside_the_file_and_what_it_did_counts(tree):
    (tree / "keystone/keystone/Dockerfile").write_text(KEYSTONE.replace("COPY extend_start.sh /usr/local/bin/\n", ""))
    code, text = run(tree / "keystone/keystone/Dockerfile", "--json")
    (one,) = json.loads(text)["files"]
    assert code == 0, text
    assert one["parent_path"] == str(tree / "base/Dockerfile")
    found = [(command["line"], command["kind"], command["demand"]) for command in one["commands"]]
    assert found == [(1, "demand", "base-image"), (2, "demand", "apt-update"), (3, "demand", "pip-install")]
    assert one["commands"][2]["detail"]["constraint_files"][0]["ref"]["archive"] == "openstack-base-archive"


def test_an_unclassified_command_is_named_with_line_reason_and_remedy_and_exits_with_four(tree):
    code, text = run(tree / "keystone/keystone/Dockerfile", "--no-home")
    assert code == 4
    line = next(line for line in text.splitlines() if "COPY" in line)
    assert line.split()[:2] == ["2", "unclassified"]
    assert "a place that no rule names" in text


def test_without_the_parent_the_file_says_so(tmp_path):
    (tmp_path / "Dockerfile").write_text(KEYSTONE)
    code, text = run(tmp_path / "Dockerfile")
    assert code == 4
    assert "parent kolla/base:18.8.0 was not found" in text


def test_a_context_file_outside_of_the_context_is_not_read(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "image").mkdir()
    (tmp_path / "image/link").symlink_to(tmp_path / "secret")
    (tmp_path / "image/Dockerfile").write_text("FROM a\nCOPY link /etc/apt/preferences\n")
    assert run(tmp_path / "image/Dockerfile")[0] == 4


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"# syntax=x\nFROM a\n", b"FROM a\nRUN true\r\n"])
def test_what_is_no_dockerfile_is_never_said_to_be_fine(tmp_path, data):
    (tmp_path / "Dockerfile").write_bytes(data)
    assert run(tmp_path / "Dockerfile")[0] != 0


def test_a_piece_as_in_an_override_is_read_as_it_stands(tmp_path):
    (tmp_path / "piece").write_text("RUN true\n")
    assert run(tmp_path / "piece")[0] == 0
    (tmp_path / "piece").write_text("RUN frobnicate\n")
    assert run(tmp_path / "piece")[0] == 4


def test_a_missing_file_is_a_usage_error(tmp_path):
    assert run(tmp_path / "Dockerfile")[0] == 2


def test_parents_that_go_round_in_a_circle_end(tree):
    (tree / "base/Dockerfile").write_text("FROM kolla/keystone:1\nRUN true\n")
    assert run(tree / "base/Dockerfile", tree / "keystone/keystone/Dockerfile")[0] == 4


def test_further_rules_are_taken_from_a_file(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM a\nRUN frobnicate -x\n")
    (tmp_path / "rules.toml").write_text('[[commands]]\nnames = ["frobnicate"]\nshort = "x"\n')
    assert run(tmp_path / "Dockerfile")[0] == 4
    assert run(tmp_path / "Dockerfile", "--rules", tmp_path / "rules.toml")[0] == 0
