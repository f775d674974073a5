"""python -m boxes: what it refuses before anything is started."""

from __future__ import annotations

import pytest
from boxes.__main__ import app
from typer.testing import CliRunner


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("nexxus", "there is no server nexxus"),
        ("nexus:0", "nexus takes 1 port"),
        ("nexus:70000", "nexus takes 1 port"),
        ("gerrit:8080", "gerrit:8080,29418"),
        ("registry:five", "registry takes 1 port"),
    ],
)
def test_a_server_that_cannot_be_meant_is_refused(tmp_path, server, said):
    code, output = run("up", str(tmp_path / "servers"), server)
    assert code == 2
    assert said in output
    assert not (tmp_path / "servers").exists()


def test_a_folder_without_servers_says_so(tmp_path):
    assert run("status", str(tmp_path)) == (0, f"no server was started in {tmp_path}\n")
    assert run("down", str(tmp_path)) == (0, "")
