"""Fetching what a lock names, side by side with what a user would run instead, in one run, as ratios.

    python -m benchmarks.refresh [FILES] [MEGABYTES]      (from the repository's root, as root)

Two namespaces with veth between them stand for the factory and its mirror (tests/window_lab.py), over a line of 400
Mbit/s and one without a limit. Sizes are spread as those of a bundle's .debs and wheels: many small, few large. Each
command fetches all into an empty folder and checks every sha256, in turn, A B C, C B A, …; medians are compared. Ratios
below 1 mean that Airlock is faster. A refresh does more than the others: it reads and checks the lock, makes the
indexes, flushes what it wrote to the disk, and takes it down in the ledger.
"""

from __future__ import annotations

import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.window_lab import MIRROR, Factory, Lab, body, open_lab

from airlock.core.digest import sha256_bytes
from airlock.store.pool import Pool

ROUNDS = 5
PARALLEL = 8  # as many connections for curl as Airlock has to one host by default
LINES = {"400 Mbit/s": "400mbit", "no limit": ""}


def sized(count: int, megabytes: int) -> dict[str, bytes]:
    """Files whose sizes are spread log-normally: the median is a twelfth of the mean."""
    chance = random.Random(1)
    shares = [chance.lognormvariate(0, 2.2) for _ in range(count)]
    scale = megabytes * 1_000_000 / sum(shares)
    return {f"f{n}.deb": body(n, max(1000, int(share * scale))) for n, share in enumerate(shares)}


class Others:
    """``curl`` and ``wget`` with a list of addresses, then ``sha256sum --check``."""

    def __init__(self, lab: Lab, files: dict[str, bytes]) -> None:
        self._lab, self._folder = lab, lab.root / "others"
        urls = {name: f"http://{MIRROR}/{name}" for name in files}
        (lab.root / "curl.conf").write_text("".join(f'url = "{url}"\noutput = "{n}"\n' for n, url in urls.items()))
        (lab.root / "wget.txt").write_text("".join(f"{url}\n" for url in urls.values()))
        sums = "".join(f"{sha256_bytes(data)}  {name}\n" for name, data in files.items())
        (lab.root / "SHA256SUMS").write_text(sums)

    def curl(self) -> None:
        """All at once, as many connections as Airlock has."""
        self._run("curl", "-sSf", "--parallel", "--parallel-max", str(PARALLEL), "-K", "../curl.conf")

    def wget(self) -> None:
        """One after the other, over one connection."""
        self._run("wget", "-q", "-i", "../wget.txt")

    def _run(self, *command: str) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        for words in (command, ("sha256sum", "--quiet", "--check", "../SHA256SUMS")):
            self._lab.run(*words, cwd=self._folder, check=True)


class Ours:
    """``airlock refresh`` of a lock of the same files."""

    def __init__(self, here: Factory, files: dict[str, bytes]) -> None:
        self._here, self._files, self._pool = here, files, Pool(here.root / "pool")
        self._definition = here.locked(files)

    def refresh(self) -> None:
        """Into a pool that holds nothing but what the lock was solved against."""
        self._here.lab.run(*self._here.refresh_words(self._definition), check=True)

    def clean(self) -> None:
        """Take away what the last one fetched."""
        for data in self._files.values():
            self._pool.path(sha256_bytes(data)).unlink(missing_ok=True)


def main() -> None:
    """All of them over each line."""
    words = [int(word) for word in sys.argv[1:]]
    count, megabytes = [*words, *(1000, 400)[len(words) :]]
    files = sized(count, megabytes)
    total = sum(map(len, files.values())) / 1e6
    root = Path(tempfile.mkdtemp(prefix="airlock-benchmark-"))
    try:
        with open_lab(root / "lab") as lab:
            here = lab.factory('backend = "none"', f'[upstreams.debian]\naddress = "http://{MIRROR}"\n')
            ours, others = Ours(here, files), Others(lab, files)
            ways: dict[str, Callable[[], None]] = {
                "airlock refresh": ours.refresh,
                "curl --parallel": others.curl,
                "wget": others.wget,
            }
            for line, rate in LINES.items():
                if rate:
                    shape = ["root", "tbf", "rate", rate, "burst", "1m", "latency", "50ms"]
                    lab.run("tc", "qdisc", "add", "dev", f"h{lab.tag}", *shape, where=lab.out, check=True)
                times: dict[str, list[float]] = {name: [] for name in ways}
                for turn in range(ROUNDS):
                    for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
                        ours.clean()
                        began = time.perf_counter()
                        way()
                        times[name].append(time.perf_counter() - began)
                if rate:
                    lab.run("tc", "qdisc", "del", "dev", f"h{lab.tag}", "root", where=lab.out, check=True)
                mine = statistics.median(times["airlock refresh"])
                print(f"{count} files, {total:.0f} MB, {line}")
                for name, taken in times.items():
                    took = statistics.median(taken)
                    print(f"  {name:<16} {took:7.2f} s   airlock/this {mine / took:5.2f}", flush=True)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
