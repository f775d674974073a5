"""python -m boxes, as a person uses it."""

from __future__ import annotations

import subprocess
import sys

from boxes.cache import ROOT
from boxes.network import HOST


def boxes(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "boxes", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_up_status_down(tmp_path):
    port = HOST.free_port()
    up = boxes("up", tmp_path, f"registry:{port}")
    assert up.returncode == 0, up.stderr
    assert HOST.accepts(port)
    assert f"127.0.0.1:{port}  process " in up.stdout
    assert boxes("up", tmp_path, f"registry:{port}").stdout == up.stdout == boxes("status", tmp_path).stdout
    assert boxes("down", tmp_path).returncode == 0
    assert not HOST.port_taken(port)
    assert boxes("status", tmp_path).stdout == f"no server was started in {tmp_path}\n"


def test_a_taken_port_is_an_error_with_a_code(tmp_path):
    port = HOST.free_port()
    assert boxes("up", tmp_path / "first", f"registry:{port}").returncode == 0
    try:
        refused = boxes("up", tmp_path / "second", f"registry:{port}")
        assert refused.returncode == 10
        assert "docker-registry (process" in refused.stderr
    finally:
        boxes("down", tmp_path / "first")
