"""A window that a process ordered, and how it hears from whoever keeps it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from select import select as wait_readable

import msgspec

from airlock.core import errors
from airlock.core.errors import AirlockError, WindowError
from airlock.evidence.window import WindowRecord
from airlock.firewall.keeper import Told
from airlock.firewall.model import Entrance

_CLOSING = 90.0


class Opened:
    """A window that this process ordered (``process``), or shares with whoever did."""

    def __init__(self, record: WindowRecord, entrance: Entrance, process: subprocess.Popen[bytes] | None) -> None:
        self.record, self.entrance, self._process = record, entrance, process

    @property
    def own(self) -> bool:
        """Whether it ends with this process."""
        return self._process is not None

    def ended(self) -> WindowRecord | None:
        """The record of a window that has closed meanwhile; None while it is open."""
        if self._process is None or self._process.stdout is None:
            return None
        if not wait_readable([self._process.stdout], [], [], 0)[0]:
            return None
        return self.close("")

    def close(self, why: str) -> WindowRecord:
        """Close it (a shared one is left), and return the record.

        Raises:
            WindowError: it does not close, or that cannot be proved.
        """
        if self._process is None:
            return self.record
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError, OSError):
            process.stdin.write(f"{why}\n".encode())
            process.stdin.flush()
        told = hear(process, _CLOSING)
        with contextlib.suppress(BrokenPipeError, OSError):
            process.stdin.close()
        process.stdout.close()
        process.wait()
        self._process = None
        if told is None or told.record is None:
            raise WindowError(
                f"whoever kept the window {self.record.id} was killed; the kernel closes it at {self.record.until}",
                remedy="Run `airlock window status`: it closes what is left and sets the record straight.",
            )
        self.record = told.record
        if told.message:
            raise WindowError(f"the window {self.record.id}: {told.message}")
        return self.record


def hear(process: subprocess.Popen[bytes], patience: float) -> Told | None:
    """A line of the keeper's; None where it ended or was silent for too long."""
    assert process.stdout is not None
    data = bytearray()
    deadline = time.monotonic() + patience
    while not data.endswith(b"\n"):
        if not wait_readable([process.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
            return None
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            return None
        data += piece
    return msgspec.json.decode(data, type=Told)


def error_of(told: Told) -> AirlockError:
    """What the keeper says went wrong, as it raised it."""
    kind = getattr(errors, told.error, WindowError)
    error: AirlockError = kind(told.message, remedy=told.remedy)
    return error
