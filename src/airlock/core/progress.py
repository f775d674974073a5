"""Progress for people: a bar on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from airlock.core.text import printable

LINE_EVERY = 10.0  # seconds between plain lines


class Task(Protocol):
    """What the worker of a long task tells."""

    def advance(self, amount: int, note: str = "") -> None:
        """``amount`` more units (bytes or items) are done."""


class Reporter(Protocol):
    """Where a verb says what it is doing."""

    def say(self, text: str) -> None:
        """One line, at once."""

    def task(self, title: str, total: int, *, unit: str = "bytes") -> contextlib.AbstractContextManager[Task]:
        """A long task of ``total`` units; ``unit`` is ``bytes`` or ``items``."""


class _Silent:
    def advance(self, amount: int, note: str = "") -> None:
        pass


class SilentReporter:
    """Says nothing: for ``--json``, tests and library use."""

    def say(self, text: str) -> None:
        pass

    @contextlib.contextmanager
    def task(self, title: str, total: int, *, unit: str = "bytes") -> Iterator[Task]:
        yield _Silent()


class _Lines:
    def __init__(self, console: Console, title: str, total: int, unit: str) -> None:
        self._console, self._title, self._total, self._unit = console, title, total, unit
        self._done, self._said = 0, time.monotonic()

    def _amount(self, count: int) -> str:
        return f"{count / 1e6:,.1f} MB" if self._unit == "bytes" else str(count)

    def advance(self, amount: int, note: str = "") -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._said >= LINE_EVERY:
            self._said = now
            self._console.print(
                f"  {self._title}: {self._amount(self._done)} of {self._amount(self._total)}", style=None
            )

    def end(self, began: float) -> None:
        seconds = time.monotonic() - began
        self._console.print(f"  {self._title}: {self._amount(self._done)} in {seconds:.1f} s")


class _Bar:
    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._id = progress.add_task(title, total=total)

    def advance(self, amount: int, note: str = "") -> None:
        self._progress.advance(self._id, amount)


class ConsoleReporter:
    """Says it on the console it is given (standard error, so that standard output stays the verb's answer)."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def task(self, title: str, total: int, *, unit: str = "bytes") -> Iterator[Task]:
        if not self._console.is_terminal:
            lines = _Lines(self._console, title, total, unit)
            began = time.monotonic()
            yield lines
            lines.end(began)
            return
        # Items differ too much in size to foretell the end by their number: the clock shows that it goes on.
        ending: tuple[ProgressColumn, ProgressColumn] = (MofNCompleteColumn(), TimeElapsedColumn())
        if unit == "bytes":
            ending = (DownloadColumn(), TimeRemainingColumn())
        columns = (TextColumn("  {task.description}"), BarColumn(), *ending)
        with Progress(*columns, console=self._console) as progress:
            yield _Bar(progress, title, total)
