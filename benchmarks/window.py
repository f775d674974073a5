"""refresh through a firewall window side by side with refresh without one, in one run, as a ratio.

    python -m benchmarks.window [MEGABYTES]      (from the repository's root, as root)

Two namespaces with veth between them stand for the factory and its upstream (tests/window_lab.py). All refreshes fetch
the same files into an empty pool, in turn, forth and back: A B C, C B A, …; each is held against the one of its own
round without a window, and the median of these ratios is the result. The whole command counts: opening, the proof,
fetching, closing and the proof again. A ratio of 1 is as fast as without; 0.95 is the bound.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.window_lab import Factory, body, open_lab

ROUNDS = 7
FILES = 40
RATE = "400mbit"  # a good line to a mirror


def seconds(here: Factory, definition: Path) -> float:
    """Wall clock of one refresh into a pool that holds nothing but what the lock needs."""
    for place in (here.root / "pool").iterdir():
        for file in place.rglob("*") if place.is_dir() else []:
            if file.is_file() and file.stat().st_size > 10_000:
                file.unlink()
    began = time.perf_counter()
    done = here.lab.run(*here.refresh_words(definition))
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


def main() -> None:
    """Both, in turn."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    root = Path(tempfile.mkdtemp(prefix="airlock-benchmark-"))
    try:
        with open_lab(root / "lab") as lab:
            for space, device in ((lab.out, f"h{lab.tag}"), (lab.here, f"o{lab.tag}")):
                shape = ["root", "tbf", "rate", RATE, "burst", "1m", "latency", "50ms"]
                lab.run("tc", "qdisc", "add", "dev", device, *shape, where=space, check=True)
            files = {f"f{number}.tar": body(number, size * 1_000_000 // FILES) for number in range(FILES)}
            kinds = {"without": 'backend = "none"', "nftables": 'backend = "nftables"'}
            if shutil.which("squid"):
                kinds["squid"] = 'backend = "squid"'
            made = {name: lab.factory(window, name=name) for name, window in kinds.items()}
            locked = {name: here.locked(files) for name, here in made.items()}
            made["without"].settings('backend = "none"', '[upstreams.debian]\naddress = "http://203.0.113.2"\n')
            times: dict[str, list[float]] = {name: [] for name in made}
            for turn in range(ROUNDS):
                for name, here in list(made.items())[:: -1 if turn % 2 else 1]:
                    times[name].append(seconds(here, locked[name]))
            base = times["without"]
            print(
                f"refresh of {size} MB in {FILES} files over {RATE}: {statistics.median(base):.2f} s without a window"
            )
            for name, mine in times.items():
                if name != "without":
                    ratios = [one / other for one, other in zip(base, mine, strict=True)]
                    print(
                        f"  {name:<10} {statistics.median(mine):7.2f} s   speed against without: "
                        f"{statistics.median(ratios):.3f}× (from {min(ratios):.3f} to {max(ratios):.3f})"
                    )
            for here in made.values():
                lab.run("nft", "delete", "table", "inet", here.table)
                if here.cgroup.exists():
                    here.cgroup.rmdir()
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
