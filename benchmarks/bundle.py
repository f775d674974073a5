"""Reading and copying a bundle, side by side with what a user would run instead, in one run, as ratios.

    python benchmarks/bundle.py BUNDLE        (after `make demo`: .demo/media/<bundle id>)

Each command runs several times in turn, A B A B …, with a warm page cache; medians are compared. Ratios below 1 mean
that Airlock is faster. Import does more than the copy beside it: it verifies, hashes while copying and reads back.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
AIRLOCK = Path(sys.executable).with_name("airlock")


def seconds(command: list[str], cwd: Path) -> float:
    """Wall clock of one command."""
    began = time.perf_counter()
    subprocess.run(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def compare(title: str, ours: list[str], others: dict[str, list[str]], cwd: Path, clean: Path | None = None) -> None:
    """Time ours against each of the others and print a row a command."""
    times: dict[str, list[float]] = {"airlock": [], **{name: [] for name in others}}
    for _ in range(ROUNDS):
        for name, command in {"airlock": ours, **others}.items():
            if clean is not None:
                shutil.rmtree(clean, ignore_errors=True)
                clean.mkdir()
                (clean / "site.toml").write_text('[images]\noci = "images"\n')
            times[name].append(seconds(command, cwd))
    mine = statistics.median(times["airlock"])
    print(f"{title}\n  {'airlock':<28} {mine:8.2f} s")
    for name in others:
        median = statistics.median(times[name])
        print(f"  {name:<28} {median:8.2f} s   airlock/{name}: {mine / median:.2f}")


def main() -> None:
    """Both comparisons."""
    bundle = Path(sys.argv[1]).resolve()
    compare(
        "verify a whole bundle",
        [str(AIRLOCK), "verify", "--json", str(bundle)],
        {"sha256sum -c": ["sha256sum", "--quiet", "-c", "SHA256SUMS"]},
        bundle,
    )
    with tempfile.TemporaryDirectory() as name:
        site = Path(name) / "site"
        compare(
            "bring it into a store",
            [str(AIRLOCK), "import", "--json", "--site", str(site), str(bundle)],
            {"cp -a and sync": ["sh", "-c", f"cp -a '{bundle}' '{site}/copy' && sync -f '{site}'"]},
            bundle,
            clean=site,
        )


if __name__ == "__main__":
    main()
