"""The processes of one box: found by who started them, ended with everything below them, never by name.

A process belongs to a box when it is in the session of the box's first process, when its environment carries the box's
mark, or when its parent belongs to it. The mark is the folder of the box, so that a box is found again after whoever
started it was killed before it could write down the pid.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from pathlib import Path

import msgspec

from airlock.core.errors import StateError

MARK = "AIRLOCK_BOX"
_PROC = Path("/proc")
_TO_DIE = 10.0  # seconds after SIGKILL


class Process(msgspec.Struct, frozen=True):
    """One process, told from a later one of the same pid by when it began.

    Attributes:
        pid: its number.
        began: clock ticks from the machine's start to its own (field 22 of /proc/PID/stat).
        boot: which start of the machine that was.
    """

    pid: int
    began: int
    boot: str

    @property
    def alive(self) -> bool:
        """Whether any of it runs. A zombie does not."""
        return bool((facts := _facts(self.pid)) and facts.began == self.began and self.boot == _boot())

    def send(self, number: signal.Signals) -> None:
        """Signal exactly this process; one that has ended is left alone."""
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


class _Facts(msgspec.Struct, frozen=True):
    pid: int
    parent: int
    session: int
    began: int


def look(pid: int) -> Process | None:
    """The process that has this pid now; None when it has ended."""
    facts = _facts(pid)
    return Process(pid, facts.began, _boot()) if facts else None


@functools.cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _facts(pid: int) -> _Facts | None:
    try:
        # The name in parentheses may hold anything, so what follows its last one counts.
        words = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if words[0] in (b"Z", b"X") and not _other_threads(pid):
        return None
    return _Facts(pid, int(words[1]), int(words[3]), int(words[19]))


def _other_threads(pid: int) -> bool:
    """Whether threads remain after the first one: they may keep ports and files for a moment after it has gone."""
    try:
        return any(task.name != str(pid) for task in (_PROC / str(pid) / "task").iterdir())
    except OSError:
        return False


def belonging(folder: Path, session: int | None) -> set[Process]:
    """Every live process of the box at ``folder``, this process and its own parents never among them.

    Args:
        folder: the box's folder, which is its mark.
        session: pid of the box's first process, where it is known to be that process.
    """
    table = {
        facts.pid: facts
        for entry in _PROC.iterdir()
        if entry.name.isdigit() and (facts := _facts(int(entry.name))) is not None
    }
    own = _line(os.getpid(), table)
    mark = f"{MARK}={folder}".encode()
    found = {
        pid
        for pid, facts in table.items()
        if pid not in own and ((session and facts.session == session) or mark in _environment(pid))
    }
    while more := {pid for pid, facts in table.items() if facts.parent in found} - found - own:
        found |= more
    return {Process(pid, table[pid].began, _boot()) for pid in found}


def _line(pid: int, table: dict[int, _Facts]) -> set[int]:
    line = {pid}
    while (facts := table.get(pid)) and facts.parent not in line:
        pid = facts.parent
        line.add(pid)
    return line


def _environment(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def end(folder: Path, first: Process | None, number: signal.Signals, grace: float) -> int:
    """End a box: ``number`` to its first process, SIGTERM to what that leaves, SIGKILL to what stays on.

    Args:
        folder: the box's folder.
        first: its first process; without one, all that carry the mark are told.
        number: the signal that asks this server to end.
        grace: seconds until SIGKILL.

    Returns:
        How many had to be killed.

    Raises:
        StateError: one cannot be killed: it hangs in the kernel.
    """
    session = first.pid if first and first.alive else None
    known = belonging(folder, session)
    told = [first] if first and first.alive else sorted(known, key=lambda one: one.pid)
    for process in told:
        process.send(number)
    deadline = time.monotonic() + grace
    while alive := {one for one in known | belonging(folder, session) if one.alive}:
        known |= alive
        if time.monotonic() > deadline:
            break
        if not any(process.alive for process in told):
            # The server has gone and left some of its own behind; they are asked, too.
            told = sorted(alive, key=lambda one: one.pid)
            for process in told:
                process.send(signal.SIGTERM)
        time.sleep(0.05)
    killed: set[Process] = set()
    deadline = time.monotonic() + _TO_DIE
    while alive := {one for one in known | belonging(folder, session) if one.alive}:
        if time.monotonic() > deadline:
            pids = ", ".join(str(one.pid) for one in sorted(alive, key=lambda one: one.pid))
            raise StateError(
                f"processes of {folder} cannot be killed: {pids}", remedy="What does the kernel's log say?"
            )
        for process in alive - killed:
            process.send(signal.SIGKILL)
        killed |= alive
        time.sleep(0.02)
    return len(killed)
