"""Run a program with bounds on its time, its and its children's memory, and its output; end all of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from airlock.core.process import clean_environment

ANSWER = "<answer>"
"""In an argument list: the number of the pipe that takes the program's answer, until it has one."""

_POLL = 0.2  # seconds between two looks at the memory in use
_ANSWER_LIMIT = 4 << 20  # bytes


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one run.

    Attributes:
        seconds: wall clock.
        memory: bytes resident in all processes together; what lies in ``/tmp`` has the same bound again.
        processes: processes and threads at a time.
        output: bytes kept of standard output and of standard error, the last ones.
        file: bytes that one file may have.
    """

    seconds: float = 120.0
    memory: int = 2 << 30
    processes: int = 256
    output: int = 256 << 10
    file: int = 1 << 30


class Outcome(msgspec.Struct, frozen=True):
    """What a run left behind.

    Attributes:
        returncode: exit status; negative or above 128 for a signal.
        stdout, stderr: the last ``Limits.output`` bytes of each.
        answer: what was written to the file descriptor whose number the environment's AIRLOCK_ANSWER holds.
        stopped: ``time`` or ``memory`` where Airlock ended it; empty otherwise.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    answer: bytes
    stopped: str


async def run_bounded(arguments: Sequence[str], limits: Limits) -> Outcome:
    """Run a program to its end with a pipe for its answer, under the two bounds that the kernel does not hold for us.

    Args:
        arguments: ``ANSWER`` among them stands for the number of the pipe's file descriptor.
    """
    reader, writer = os.pipe()
    answer = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(answer), os.fdopen(reader, "rb")
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(writer) if word == ANSWER else word for word in arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(),
            cwd="/",
            pass_fds=(writer,),
        )
    finally:
        os.close(writer)
    assert process.stdout is not None
    assert process.stderr is not None
    watch = asyncio.create_task(_watch(process, limits))
    try:
        stdout, stderr, data, _ = await asyncio.gather(
            _tail(process.stdout, limits.output),
            _tail(process.stderr, limits.output),
            _tail(answer, _ANSWER_LIMIT),
            process.wait(),
        )
        stopped = "" if not watch.done() else watch.result()
    finally:
        watch.cancel()
        if process.returncode is None:
            _end(process.pid)
            await process.wait()
        transport.close()
    code = process.returncode or 0
    return Outcome(code, stdout, stderr, data, stopped)


async def _tail(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Read to the end, keep the last ``limit`` bytes."""
    kept = bytearray()
    while data := await stream.read(1 << 16):
        kept += data
        if len(kept) > 2 * limit:
            del kept[:-limit]
    return bytes(kept[-limit:])


async def _watch(process: asyncio.subprocess.Process, limits: Limits) -> str:
    """End the process when it takes too long or too much; returns why (``time``, ``memory``)."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.seconds
    while True:
        await asyncio.sleep(_POLL)
        stopped = "time" if loop.time() > end else "memory" if resident(process.pid) > limits.memory else ""
        if stopped:
            _end(process.pid)
            return stopped


def resident(root: int) -> int:
    """Bytes resident in a process and all its descendants."""
    return sum(_family(root).values())


def _family(root: int) -> dict[int, int]:
    """Process id → bytes resident, of a process and all its descendants (proc(5): stat, fields 4 and 24)."""
    page = os.sysconf("SC_PAGE_SIZE")
    children: dict[int, list[int]] = {}
    size: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (five times as fast, and this runs several times a second)
        if not entry.isdecimal():
            continue
        try:
            fields = Path("/proc", entry, "stat").read_text("latin-1").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] == "Z":
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
        size[int(entry)] = int(fields[21]) * page
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if one in size and one not in found:
            found[one] = size[one]
            waiting += children.get(one, [])
    return found


def _end(root: int) -> None:
    """Kill a process and all its descendants, these first: bubblewrap's own dying together works only once it has set
    itself up, and what is left over then has no parent to be found by.
    """
    while True:
        others = _family(root).keys() - {root}
        for one in others or {root}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if not others:
            return
        time.sleep(0.005)
