"""``kill -9`` of everything, or of one of them, at seeded moments: nothing stays open beyond the stated time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.window_lab import MIRROR, Factory, body, inhabitants

SECONDS = {"nftables": 2.0, "squid": 6.0}  # squid takes some of them to start
AT_ONCE = 4
LONG = 64 << 20  # each run goes on where the one before was killed: bytes enough for fifty of them


def seeds(count: int) -> list[range]:
    """Seeds in shares, one a worker."""
    return [range(first, count, AT_ONCE) for first in range(AT_ONCE)]


@pytest.mark.parametrize("backend", ["nftables", "squid"])
def test_killed_at_a_few_moments(factory, backend):
    run(factory, 15 if backend == "nftables" else 4, backend)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["nftables", "squid"])
def test_killed_at_two_hundred_moments(factory, backend):
    run(factory, 200 if backend == "nftables" else 40, backend)


def run(factory, count: int, backend: str) -> None:
    made = [factory(window=f'backend = "{backend}"\nminutes = {SECONDS[backend] / 60}') for _ in range(AT_ONCE)]
    for here in made:
        here.locked({"long.tar": body(11, LONG)}, folder="slow/")
    with ThreadPoolExecutor(AT_ONCE) as workers:
        told = list(workers.map(share_of, made, seeds(count), [SECONDS[backend]] * AT_ONCE))
    assert sum(told) > count // 2, f"{sum(told)} of {count} kills met an open window: the moments are wrong"
    for here in made:
        assert here.window("status").returncode == 0
        assert {record["state"] for record in here.records()} <= {"closed"}
        assert here.window("close", "--reason", "the rules of a factory that was never open, too").returncode == 0
        assert here.window("test").returncode == 0


def share_of(here: Factory, mine: range, seconds: float) -> int:
    """Kill once for each seed; how many of the kills met an open window."""
    return sum(killed(here, seed, seconds) for seed in mine)


def killed(here: Factory, seed: int, seconds: float) -> bool:
    chance = random.Random(seed)
    process = here.lab.popen(
        *here.refresh_words(here.root / "definition"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    whom = chance.choice(["all", "all", "command", "keeper", "keeper and squid"])
    if chance.random() < 0.3:  # any moment of a run, whatever it is at
        time.sleep(chance.uniform(0.0, 4.0))
    else:  # one while it is open, or while it closes
        while not opens(here) and process.poll() is None:
            time.sleep(0.02)
        # The time that it took to open is part of the window: most moments lie in what is left, some about its end.
        time.sleep(chance.uniform(0.0, 0.4 * seconds) if chance.random() < 0.75 else chance.uniform(0.0, seconds + 0.5))
    was_open = opens(here)
    met = kill(here, process, whom)
    at = time.monotonic()
    if whom != "all":  # who is left goes on to its own end: the command stops, the keeper closes at once
        process.wait(60)
        settle(here)
    if whom == "command" or not met:
        at = time.monotonic()
    # The stated time is the most that can be left, wherever it was met.
    while True:
        looked = time.monotonic()
        if not opens(here):
            break
        late = looked - at - seconds
        assert late < 0.4, f"seed {seed}, {whom}: open {late:.1f} s after its stated time: {here.listing()}"
        time.sleep(0.1)
    assert here.reach("tcp", MIRROR, 80) == "refused" or not here.cgroup.exists() or not here.listing(), (seed, whom)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.wait()
    settle(here)
    return was_open


def opens(here: Factory) -> bool:
    """What the kernel lists, and a proxy that still answers."""
    return here.is_open() or bool(processes(here, "squid"))


def settle(here: Factory) -> None:
    """The keeper of a command that alone was killed closes in its own time."""
    deadline = time.monotonic() + 20
    while processes(here, "keeper"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill(here: Factory, process: subprocess.Popen[str], whom: str) -> bool:
    """Whether there was anybody to kill yet."""
    pids = {"command": [process.pid], "keeper": processes(here, "keeper")}.get(whom)
    if pids is None:
        pids = [*processes(here, "keeper"), *processes(here, "squid")]
    if whom == "all":
        pids = [process.pid, *pids, *processes(here, "probe"), *processes(here, "nft")]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def processes(here: Factory, what: str) -> list[int]:
    """This factory's own, of all that run in the lab."""
    found = []
    for pid in inhabitants(here.lab.here):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace")
            place = f"{words} {' '.join(open_files(pid)) if what != 'squid' else ''}"
            if what in words and f"{here.root}/" in place + "/":
                found.append(pid)
    return found


def open_files(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return []
