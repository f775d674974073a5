"""Locking, side by side with what a user would run instead, image by image, in one run, as ratios.

    python -m benchmarks.lock DEFINITION [--factory FOLDER] [--images EXPRESSION]

Airlock locks all images of the definition twice, asking all upstreams, and the second run counts: their metadata is
warm. Then every apt command of every image is simulated by ``apt-get -s`` over what its parents installed, and every
pip command is resolved by ``pip install --dry-run`` (a cache of its own, which all of them share) under the same
constraints. These two find versions alone: no hashes, nothing of what building an sdist takes, nothing of what the
other one installed. A ratio of 10 means that Airlock is ten times faster. One command at a time is timed, on a
machine with little else to do.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from airlock.core.process import clean_environment
from airlock.core.settings import Factory, load_factory
from airlock.definition.load import load_definition
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.fetch.transcript import read_transcript
from airlock.fetch.upstreams import addresses, python_index
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_root import AptRoot
from airlock.lock.apt_state import AptState, Installed
from airlock.lock.files import load_lock
from airlock.lock.indexes import STANZAS
from airlock.lock.model import Demand, Lock
from airlock.store.pool import Pool

AIRLOCK = Path(sys.executable).with_name("airlock")


def timed(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, bool]:
    """Wall clock of a command, and whether it succeeded."""
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began, done.returncode == 0


def parents(lock: Lock, image: str) -> Iterator[str]:
    """The ancestors of an image."""
    by_name = {one.name: one for one in lock.images}
    while image := by_name[image].parent:
        yield image


class ByApt:
    """``apt-get -s``, over a status file made of what the lock says that parents installed."""

    def __init__(self, lock: Lock, pool: Pool, loaded: LoadedDefinition, factory: Factory, work: Path) -> None:
        kept = read_transcript(pool, lock.header.witness)

        def read(name: str) -> dict:
            return json.loads(pool.read(kept.find("", name).sha256))

        apt, known = read(STANZAS), addresses(factory.settings.upstreams, read("upstreams"))
        self._lock, self._stanzas = lock, apt["stanzas"]
        self._sources = [AptSource(**one) for one in apt["sources"]]
        self._root = AptRoot(
            work / "apt",
            sources=self._sources,
            addresses=known.__getitem__,
            keyrings=[Path(f"/usr/share/keyrings/{loaded.definition.base.distribution}-archive-keyring.gpg")],
            debian_arch=DEBIAN_ARCHITECTURES[loaded.definition.base.architectures[0]],
        )
        self._root.update()

    def seconds(self, demand: Demand) -> tuple[float, bool]:
        """One command of one image."""
        above = {*parents(self._lock, demand.image)}
        packages: dict[str, Installed] = {}
        for other in self._lock.demands:
            if other.kind == "base-image" or (other.kind == "apt" and other.image in above):
                for ident in other.artifacts:
                    stanza = self._stanzas[ident].strip() + "\nStatus: install ok installed\n"
                    packages[ident.partition("_")[0]] = Installed(ident, stanza)
        self._root.enter(AptState(packages), self._sources, {})
        began = time.perf_counter()
        done = self._root.apt(["apt-get", "-s", *demand.spec.split()])
        return time.perf_counter() - began, done.returncode == 0


class ByPip:
    """``pip install --dry-run``, as the image's Dockerfile says it, sources from the pool."""

    def __init__(self, lock: Lock, pool: Pool, loaded: LoadedDefinition, work: Path) -> None:
        self._lock, self._pool, self._work = lock, pool, work
        self._constraints = work / "constraints.txt"
        text = loaded.files[loaded.definition.sources.constraints].decode()
        self._constraints.write_text("".join(line for line in text.splitlines(True) if not line.startswith("ovs=")))
        (work / "build.txt").write_text("".join(f"{pin}\n" for pin in loaded.definition.python.build_pins))
        subprocess.run(["/usr/bin/python3", "-m", "venv", work / "venv"], check=True)
        upgrade = [work / "venv/bin/pip", "-q", "install", "--index-url", python_index(), "--upgrade", "pip"]
        subprocess.run(upgrade, check=True, env=clean_environment(work, network=True))

    def seconds(self, demand: Demand) -> tuple[float, bool]:
        """One command of one image."""
        command = [str(self._work / "venv/bin/pip"), "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--index-url", python_index(), "--cache-dir", str(self._work / "pip-cache")]
        command += ["--build-constraint", str(self._work / "build.txt"), "-c", str(self._constraints)]
        command += self._words(demand)
        return timed(command, clean_environment(self._work, network=True))

    def _words(self, demand: Demand) -> Iterator[str]:
        sources = [self._archive(ident) for ident in demand.artifacts if ident.startswith("source/")]
        words = iter(demand.spec.split())
        for word in words:
            if word in ("-c", "--constraint"):
                next(words)
            elif word in ("-r", "--requirement"):
                yield from ("-r", str(self._from_parent(demand, Path(next(words)).name)))
            elif word.startswith("/"):
                extras = re.search(r"\[.*\]", word)
                yield from (f"{source}{extras[0] if extras else ''}" for source in sources)
            elif not word.startswith("-") and word != "install":
                yield word

    def _archive(self, ident: str) -> Path:
        artifact = self._lock.by_id[ident]
        place = self._work / "sources" / artifact.sha256[:8] / artifact.file
        if not place.exists():
            place.parent.mkdir(parents=True)
            shutil.copyfile(self._pool.path(artifact.sha256), place)
        return place

    def _from_parent(self, demand: Demand, name: str) -> Path:
        """A file out of the source archive of an ancestor."""
        above = {*parents(self._lock, demand.image)}
        for other in self._lock.demands:
            for ident in other.artifacts if other.kind == "source" and other.image in above else ():
                with tarfile.open(self._archive(ident)) as archive:
                    for member in archive:
                        if member.isfile() and Path(member.name).name == name:
                            place = self._work / name
                            place.write_bytes(archive.extractfile(member).read())
                            return place
        raise SystemExit(f"{demand.where}: there is no {name}")


def main() -> None:
    """Lock twice, then every command by the others."""
    parser = argparse.ArgumentParser()
    parser.add_argument("definition", type=Path)
    parser.add_argument("--factory", type=Path, help="a factory with settings of yours; else an empty one")
    parser.add_argument("--images", default="", help="only images whose name matches, for the others' side")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = given.factory or work / "factory"
        shutil.copytree(given.definition, work / "definition")
        for run in ("first", "again"):
            command = [str(AIRLOCK), "lock", "--update", "--json", "--factory", str(folder), str(work / "definition")]
            ours, good = timed(command)
            if not good:
                raise SystemExit("airlock lock failed")
            print(f"airlock lock, {run}: {ours:.1f} s", flush=True)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        loaded = load_definition(work / "definition")
        lock, factory = load_lock(loaded.lock_path), load_factory(folder)
        print(f"{lock.header.images} images, largest process {memory:.0f} MiB")
        pool = Pool(factory.pool)
        ways = {"apt": ByApt(lock, pool, loaded, factory, work), "python": ByPip(lock, pool, loaded, work)}
        total = dict.fromkeys(ways, 0.0)
        for demand in lock.demands:
            solved = demand.kind in ways and demand.artifacts  # not `apt-get update`, not `apt-get clean`
            if solved and re.search(given.images, demand.image):
                took, good = ways[demand.kind].seconds(demand)
                total[demand.kind] += took
                print(f"{took:8.1f} s {demand.where}: {demand.spec[:90]}{'' if good else ' (failed)'}", flush=True)
        theirs = sum(total.values())
        print(f"apt-get -s {total['apt']:.0f} s, pip --dry-run {total['python']:.0f} s; airlock {ours:.0f} s", end="; ")
        print(f"they take {theirs / ours:.1f} times as long")


if __name__ == "__main__":
    main()
