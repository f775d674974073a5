"""What is longer than CI has time for, by folder: ``make test-full`` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = (HERE / "faults", HERE / "verbs")
SHORT = ("test_definition.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of faults at the command line, each of which is a run of Kolla or of a bundle."""
    for item in items:
        if item.path.name not in SHORT and any(folder in item.path.parents for folder in LONG):
            item.add_marker(pytest.mark.full)
