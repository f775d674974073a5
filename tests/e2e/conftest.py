"""The README's main job, run once for all tests here: `make demo` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / ".demo"
TIMEOUT = 3000.0  # seconds, for a machine that is busy besides


@pytest.fixture(scope="session")
def demo() -> Path:
    """``.demo`` after ``make demo`` came to its end."""
    if os.geteuid() != 0:
        pytest.skip("the demo wants root")
    result = subprocess.run(
        ["make", "demo"], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "MAKE"))},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-6000:]
    return DEMO


@pytest.fixture(scope="session")
def record_path(demo: Path) -> Path:
    """The newest build record."""
    return max((demo / "site/records").glob("*/record.json"), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="session")
def record(record_path: Path) -> dict[str, Any]:
    """The newest build record, as plain JSON: what any other program sees."""
    loaded: dict[str, Any] = json.loads(record_path.read_text())
    return loaded


@pytest.fixture(scope="session")
def bundle(demo: Path, record: dict[str, Any]) -> Path:
    """The bundle on the media."""
    return demo / "media" / record["bundle"]["id"]
