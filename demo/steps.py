"""A demonstration's steps: each is shown with its command, timed, and ends the run where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from airlock.core.errors import AirlockError

ROOT = Path(__file__).resolve().parents[1]


class StepError(AirlockError):
    """A command of a step failed; what it said stands above."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, remedy="`make demo STORES=real` goes on from here.")
        self.code = code


class Took(msgspec.Struct, frozen=True):
    """How long a step took, in seconds."""

    title: str
    seconds: float


class Steps:
    """What has been done so far. ``prefix`` of a command is not shown: it only says where it runs."""

    def __init__(self) -> None:
        self.took: list[Took] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show and time a step."""
        self.say(f"── {title}")
        began = time.monotonic()
        yield
        self.took.append(Took(title, time.monotonic() - began))

    def say(self, text: str) -> None:
        """A headline."""
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)

    def note(self, text: str) -> None:
        """A line below one."""
        print(f"   {text}", flush=True)

    def run(
        self,
        *command: str | Path,
        prefix: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        fails_with: int = 0,
        cwd: Path = ROOT,
    ) -> str:
        """Run a command, showing it and what it says; returns its standard output.

        Args:
            fails_with: the exit code that is wanted.

        Raises:
            StepError: it ended with another code.
        """
        words = [str(word) for word in command]
        self.note("$ " + " ".join(words).replace(f"{ROOT}/", ""))
        process = subprocess.Popen(
            [*prefix, *words], env={**os.environ, **(environment or {})}, cwd=cwd, stdout=subprocess.PIPE, text=True
        )
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            print(f"   {line}", end="", flush=True)
        if (code := process.wait()) != fails_with:
            raise StepError(f"{Path(words[0]).name} {' '.join(words[1:3])} … ended with exit code {code}", code)
        return "".join(said)
