"""Passwords and tokens: in files that only their owner reads, never in settings, on a command line or in a log."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from airlock.core.errors import UsageError

MAX_SECRET = 4096  # bytes


def read_secret(path: Path) -> str:
    """The first line of a secret's file, without its line end.

    Raises:
        UsageError: the file is missing, empty or too large, no plain file, or not for its owner alone. What it holds is
            in no message.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            state = os.fstat(stream.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise UsageError(f"{path} holds no secret: it is not a file")
            if state.st_mode & 0o077:
                raise UsageError(
                    f"{path} holds a secret, and others than its owner may read it", remedy=f"chmod 600 {path}"
                )
            data = stream.read(MAX_SECRET + 1)
    except OSError as error:
        raise UsageError(
            f"{path} holds a secret and cannot be read: {(error.strerror or str(error)).lower()}",
            remedy="Write the secret into it, one line, and let its owner alone read it (chmod 600).",
        ) from None
    line = data.split(b"\n", 1)[0].rstrip(b"\r")
    try:
        secret = line.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} holds no secret: it is not text") from None
    if not secret or len(data) > MAX_SECRET:
        raise UsageError(
            f"{path} holds no secret: it is {'empty' if not secret else f'larger than {MAX_SECRET} bytes'}",
            remedy="Write the secret into it, one line.",
        )
    return secret
