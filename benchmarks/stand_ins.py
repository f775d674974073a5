"""Every image of Kolla for Debian, with stand-ins for what is out of reach: locked, fetched, proved, locked again.

    python -m benchmarks.stand_ins [FOLDER]      (from the repository's root)

Prints a page for docs/results: wall clock, processor time and memory of each command as /usr/bin/time has them, and
which image stands on which stand-in (tests/all_world.py). FOLDER is the factory's; a pool in it saves fetching.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.all_world import ARCH, all_world, beyond_keys
from tests.integration.kolla.conftest import kolla_environment

from airlock.kolla.environment import KollaEnvironment
from airlock.lock.files import load_lock
from airlock.lock.stand_ins import proven

AIRLOCK = Path(sys.executable).with_name("airlock")
FIELDS = ("Elapsed (wall clock) time (h:mm:ss or m:ss)", "User time (seconds)", "System time (seconds)",
          "Maximum resident set size (kbytes)")  # fmt: skip


def measured(verb: str, *words: str) -> str:
    """Run a verb to its good end; a row of the table."""
    command = ["/usr/bin/time", "-v", str(AIRLOCK), *verb.split(), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if done.returncode != 0:
        raise SystemExit(done.stdout[-2000:] + done.stderr[-4000:])
    wall, user, system, memory = (re.findall(rf"{re.escape(field)}: (\S+)", done.stderr)[-1] for field in FIELDS)
    seconds = sum(float(part) * 60**power for power, part in enumerate(reversed(wall.split(":"))))
    return f"| `{verb}` | {seconds:.0f} s | {float(user) + float(system):.0f} s | {int(memory) // 1024} MiB |"


def main() -> None:
    """Measure, then tell."""
    with tempfile.TemporaryDirectory(prefix="airlock-benchmark-") as name:
        factory = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else Path(name) / "factory"
        with all_world(Path(name) / "world", factory, KollaEnvironment(kolla_environment("18.8.0"))) as world:
            words = ("--factory", str(factory), str(world.definition))
            rows = [measured(verb, *words) for verb in ("lock", "refresh", "validate", "lock --check")]
            lock = load_lock(world.definition / "airlock.lock")
            rest = {image.name for image in world.gathered[ARCH].tree.images}
            left_out = world.gathered[ARCH].tree.left_out
    said, beyond = proven(lock), beyond_keys(lock)
    load = os.getloadavg()[0]
    print(f"# All images with stand-ins, {ARCH}, as of {datetime.now(UTC):%Y-%m-%d}\n")
    print("Written by `python -m benchmarks.stand_ins`.\n")
    print(f"{len(rest)} images locked and proved, {len(left_out)} left out; {len(lock.artifacts)} artifacts, ", end="")
    print(f"{lock.header.size / 1e6:.0f} MB. `validate` says: {said}.")
    print(f"{len(rest) - len(beyond)} take nothing from a stand-in but the vendors' keys in base.\n")
    print("| | wall | processor | memory |\n|---|---|---|---|\n" + "\n".join(rows))
    print(f"\n{os.cpu_count()} cores, load {load:.1f} at the end.\n")
    print("| image | stand-ins, besides those of base |\n|---|---|")
    print(f"| base, and all images for its sake | {', '.join(said.against[ARCH]['base'])} |")
    for image, names in sorted(beyond.items()):
        print(f"| {image} | {', '.join(names)} |")
    print("\n| left out | why |\n|---|---|")
    for image, reason in sorted(left_out.items()):
        print(f"| {image} | {reason} |")


if __name__ == "__main__":
    main()
