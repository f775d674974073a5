"""`build` that is asked to end by SIGTERM, as when Zuul cancels a build: as by Ctrl-C, nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import metadata
from tests.integration.verbs.test_build_refused import failures, imported, rooms, stocked  # noqa: F401 - fixtures

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes a room")
INTERRUPTED = 130


def test_sigterm_ends_a_build_with_a_record_and_leaves_no_room(stocked: Path, bundle: Path) -> None:  # noqa: F811
    before = rooms()
    words = ["build", "--bundle", bundle.name, "--site", str(stocked), "--reason", "why", "--detail", "buildset=s1"]
    code = "from airlock.cli.main import main; main()"
    environment = os.environ | {"PYTHONPATH": metadata()}
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], env=environment, cwd="/", stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("canary: "):  # the room is made, and something is at work in it
                break
        assert rooms() - before
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == INTERRUPTED
    assert "interrupted" in said
    (record,) = failures(stocked)
    assert record["error"] == "the build was interrupted"
    assert record["trigger"]["details"] == {"buildset": "s1"}
    assert rooms() == before
