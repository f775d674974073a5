"""Runs ``airlock`` as its user does: a process, its exit code, what it says."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from airlock.core.errors import IncompleteError

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "tests" / "faults"
_RUN = "from airlock.cli.main import main; main()"
TIMEOUT = 300.0

Ended = subprocess.CompletedProcess[str]


@functools.cache
def metadata() -> str:
    """What PYTHONPATH needs so that Airlock knows itself as installed, where these tests run from the source tree."""
    try:
        importlib.metadata.distribution("kolla-airlock")
    except importlib.metadata.PackageNotFoundError:
        place = CACHE / "metadata"
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder]
            environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTEST_"))}
            subprocess.run([*command, str(ROOT)], check=True, capture_output=True, env=environment)
            with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
                names = [name for name in wheel.namelist() if ".dist-info/" in name]
                wheel.extractall(place, names)
        return str(place)
    return ""


def airlock(
    *words: str | Path, before: Sequence[str] = (), cwd: Path | None = None, timeout: float = TIMEOUT, **extra: str
) -> Ended:
    """One verb, to its end.

    Args:
        before: words before the command (``unshare …``, ``setpriv …``).
        extra: environment variables.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRLOCK_", "PYTEST_"))}
    command = [*before, sys.executable, "-c", _RUN, *map(str, words)]
    return subprocess.run(
        command,
        env=environment | {"PYTHONPATH": metadata()} | extra,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=cwd,
    )


def done(result: Ended) -> Ended:
    """It went well."""
    assert result.returncode == 0, f"{result.args[-6:]}\n{result.stdout[-2000:]}\n{result.stderr[-4000:]}"
    return result


def refused(result: Ended, code: int, *words: str) -> str:
    """It ended with that code and with one message that has these words and says what to do; returns the message."""
    said = result.stderr
    assert result.returncode == code, (
        f"exit code {result.returncode}, not {code}\n{result.stdout[-2000:]}\n{said[-4000:]}"
    )
    lines = said.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(errors) == 1, said[-4000:]
    message = "\n".join(lines[errors[0] :])
    assert "Traceback" not in said, said[-4000:]
    assert "  → " in message, f"nothing says what to do:\n{message}"
    for word in words:
        assert word in message, f"{word!r} is not in:\n{message}"
    # A proof that does not hold is reported on whole; whatever else is refused answers nothing.
    assert result.stdout == "" or code == IncompleteError.exit_code, result.stdout
    return message
