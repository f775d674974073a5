"""What goes with --rehearse, and only with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from airlock.cli.main import make_app
from airlock.cli.rehearse import seconds
from airlock.core.errors import UsageError


@pytest.mark.parametrize(("text", "value"), [("", None), ("0s", 0.0), ("90s", 90.0), ("40m", 2400.0), ("2h", 7200.0)])
def test_a_time(text: str, value: float | None) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["40", "m", "-1m", "1.5h", "40 m", "1d", "40mm", "٤m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        seconds(text)


@pytest.mark.parametrize("words", [["keystone"], ["--for", "40m"], ["--report", "x.md"], ["--clean"]])
def test_without_it_they_are_refused(words: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(make_app(), ["validate", str(tmp_path), *words])
    assert result.exit_code == UsageError.exit_code
