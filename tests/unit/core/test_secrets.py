"""A secret is read from a file of its owner alone, and is in no message."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airlock.core.errors import UsageError
from airlock.core.secrets import MAX_SECRET, read_secret


def secret(tmp_path: Path, data: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("data", [b"s3cret", b"s3cret\n", b"s3cret\r\n", b"s3cret\nsecond line\n"])
def test_the_first_line_is_the_secret(tmp_path, data):
    assert read_secret(secret(tmp_path, data)) == "s3cret"


def test_spaces_belong_to_it(tmp_path):
    assert read_secret(secret(tmp_path, b" a b \n")) == " a b "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_one_that_others_may_read_is_refused_with_what_to_do(tmp_path, mode):
    with pytest.raises(UsageError, match="others than its owner") as raised:
        read_secret(secret(tmp_path, b"s3cret\n", mode))
    assert raised.value.remedy == f"chmod 600 {tmp_path / 'secret'}"
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "empty"), (b"\n", "empty"), (b"\xff\n", "not text"), (b"x" * (MAX_SECRET + 1), "larger")]
)
def test_what_is_no_secret_is_refused(tmp_path, data, why):
    with pytest.raises(UsageError, match=why):
        read_secret(secret(tmp_path, data))


def test_a_missing_file_and_what_is_no_file_are_named(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: no such file"):
        read_secret(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises(UsageError, match=r"not a file|is a directory"):
            read_secret(tmp_path / name)
