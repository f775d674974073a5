"""Importing a bundle into a Nexus, side by side with what a user would run instead, in one run, as ratios.

    python -m benchmarks.nexus BUNDLE        (from the checkout; after `make demo`: .demo/media/<bundle id>)

A Nexus of its own is started for it, on loopback, and removed afterwards. Each command puts the whole bundle into an
empty repository. Ratios below 1 mean that Airlock is faster. Import does more than curl beside it: it verifies the
bundle, hashes again what it sends, waits until it would outlive a kill of the server, and reads all of it back.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from boxes.network import HOST
from boxes.nexus import Nexus, Repository

ROUNDS = 3
PARALLEL = 8
AIRLOCK = Path(sys.executable).with_name("airlock")


def curl_list(bundle: Path, repository: Repository, folder: Path) -> Path:
    """A file with the words of one curl command a line: its configuration, what to send, where to."""
    config = folder / f"{repository.name}.curl"
    config.touch(mode=0o600)
    config.write_text(f'user = "{repository.importer.user}:{repository.importer.password}"\n')
    lines = [
        f"{config} {path} {repository.url}{quote(path.relative_to(bundle).as_posix())}"
        for path in sorted(bundle.rglob("*"))
        if path.is_file()
    ]
    place = folder / f"{repository.name}.list"
    place.write_text("\n".join(lines) + "\n")
    return place


def seconds(command: list[str], stdin: Path | None = None) -> float:
    """Wall clock of one command."""
    began = time.perf_counter()
    with (stdin or Path(os.devnull)).open("rb") as stream:
        subprocess.run(command, stdin=stream, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def by_curl(bundle: Path, repository: Repository, folder: Path, script: str) -> float:
    """Eight curls at a time, a file each."""
    line = ["xargs", "-P", str(PARALLEL), "-L", "1", "sh", "-ec", script, "sh"]
    return seconds(line, curl_list(bundle, repository, folder))


def by_airlock(bundle: Path, repository: Repository, folder: Path, nexus: Nexus) -> float:
    """``airlock import`` at a site of its own."""
    site = folder / f"site-{repository.name}"
    site.mkdir()
    (site / "site.toml").write_text(
        f'[artifacts]\nnexus = "{nexus.address}"\nrepository = "{repository.name}"\n'
        f'user = "{repository.importer.user}"\npassword_file = "{repository.importer.password_file}"\n'
        '[images]\noci = "images"\n'
    )
    return seconds([str(AIRLOCK), "import", "--json", "--site", str(site), str(bundle)])


PUT = 'curl -sS -f -o /dev/null -K "$1" -T "$2" "$3"'
READ_BACK = f'{PUT}; curl -sS -f -K "$1" "$3" | sha256sum > /dev/null'


def main() -> None:
    """The comparison."""
    bundle = Path(sys.argv[1]).resolve()
    files = [path for path in bundle.rglob("*") if path.is_file()]
    print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:,.0f} MB, {ROUNDS} rounds in turn")
    times: dict[str, list[float]] = {"airlock import": [], "curl -T": [], "curl -T, GET, sha256sum": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Nexus(folder / "nexus", port=HOST.free_port(), fast_under_load=True) as nexus:
            by_curl(bundle, nexus.make_repository("warm"), folder, PUT)
            for number in range(ROUNDS):
                fresh = [nexus.make_repository(f"{kind}{number}") for kind in ("import", "put", "back")]
                times["airlock import"].append(by_airlock(bundle, fresh[0], folder, nexus))
                times["curl -T"].append(by_curl(bundle, fresh[1], folder, PUT))
                times["curl -T, GET, sha256sum"].append(by_curl(bundle, fresh[2], folder, READ_BACK))
    mine = min(times["airlock import"])
    for kind, found in times.items():
        rounds = ", ".join(f"{one:.1f}" for one in found)
        print(f"  {kind:<26} {min(found):8.2f} s   airlock/{kind}: {mine / min(found):.2f}   (rounds: {rounds})")


if __name__ == "__main__":
    main()
