"""The backend ``hook``: a command of the operator's opens and closes a firewall that Airlock does not know.

The contract (docs/how-to/window-hook.md): JSON on standard input, JSON on standard output, exit status 0. ``open`` is
given the hosts and the seconds after which the firewall must close by itself; all three actions may be repeated.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from airlock.core.errors import UsageError, WindowError
from airlock.core.process import clean_environment, last_lines, run
from airlock.evidence.window import Contact, RefusedAttempt, WindowRecord
from airlock.firewall.model import Entrance, Order

FORMAT = 1
TIMEOUT = 60.0  # seconds that the command may take
MAX_ANSWER = 1 << 20  # bytes
CANNOT_PROVE = [
    "The firewall is one that Airlock does not know: its own word is taken for what it lets through, and for its time.",
    "Airlock's own processes are not confined on this machine.",
]


class Answer(msgspec.Struct, frozen=True):
    """What the command says: ``state`` is ``open`` or ``closed``; the rest is evidence, where it has any."""

    state: str
    note: str = ""
    contacts: list[Contact] = []
    refused: list[RefusedAttempt] = []


class Hook:
    """See ``firewall.model.Backend``."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._last = Answer("closed")

    async def open(self, seconds: float) -> Entrance:
        """See ``Backend``."""
        self._order.record.cannot_prove = list(CANNOT_PROVE)
        answer = await asyncio.to_thread(self._call, "open", seconds)
        if answer.state != "open":
            raise WindowError(f"the hook was told to open, and says {answer.state!r}: {answer.note}")
        return Entrance()

    async def tend(self) -> None:
        """See ``Backend``: nothing; the firewall's own clock closes it."""

    def begin(self) -> None:
        """See ``Backend``: what the firewall tells is its own."""

    async def close(self) -> None:
        """See ``Backend``."""
        self._last = await asyncio.to_thread(self._call, "close")
        if self._last.state != "closed":
            raise WindowError(f"the hook was told to close, and says {self._last.state!r}: {self._last.note}")

    def is_open(self) -> bool:
        """See ``Backend``."""
        self._last = self._call("status")
        return self._last.state == "open"

    def tell(self, record: WindowRecord) -> None:
        """See ``Backend``: what the command told at last."""
        record.contacts, record.refused = self._last.contacts, self._last.refused
        if self._last.note and self._last.note not in record.notes:
            record.notes.append(self._last.note)

    def _call(self, action: str, seconds: float = 0.0) -> Answer:
        record = self._order.record
        question: dict[str, Any] = {
            "format": FORMAT,
            "action": action,
            "window": record.id,
            "hosts": [{"name": name, "port": port} for name, port in self._order.places],
            "seconds": round(seconds, 3),
            "until": record.until,
            "reason": record.reason,
            "requester": record.requester,
        }
        command = self._command()
        what = f"the hook {command[0]} {action}"
        try:
            environment = clean_environment(Path(self._order.root))
            result = run(
                command,
                data=json.dumps(question).encode(),
                env=environment,
                cwd=Path(self._order.root),
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise WindowError(f"{what} did not answer within {TIMEOUT:.0f} s") from None
        except OSError as error:
            raise WindowError(f"{what} cannot be run: {error.strerror}", remedy="Is it executable?") from None
        if result.returncode != 0:
            raise WindowError(f"{what} failed with {result.returncode}: {last_lines(result, 3)}")
        try:
            if len(result.stdout) > MAX_ANSWER:
                raise WindowError(f"{what} answered with more than {MAX_ANSWER} bytes")
            answer = msgspec.json.decode(result.stdout, type=Answer)
        except msgspec.MsgspecError as error:
            raise WindowError(f"{what} did not answer by its contract: {error}", remedy=_CONTRACT) from None
        if answer.state not in ("open", "closed"):
            raise WindowError(f"{what} answered with the state {answer.state!r}", remedy=_CONTRACT)
        return answer

    def _command(self) -> list[str]:
        words = self._order.settings.command
        if not words:
            raise UsageError("[window] command names no hook", remedy='command = ["./hook", …] in factory.toml.')
        program = Path(self._order.root) / words[0] if "/" in words[0] else Path(words[0])
        return [str(program), *words[1:]]


_CONTRACT = "docs/how-to/window-hook.md has the contract."
