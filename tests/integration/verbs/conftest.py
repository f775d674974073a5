"""A real bundle of ``base`` on media, made by the command line; copies of it to break; disks that are too small."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import airlock, done
from tests.integration.faults.conftest import (  # noqa: F401 - fixtures
    Locked,
    _upstreams,
    factory,
    locked,
    upstreams,
)


def clone(source: Path, target: Path) -> Path:
    """A copy that shares inodes; whatever is to be changed has to be written anew (``rewrite``)."""
    shutil.copytree(source, target, copy_function=os.link, symlinks=True)
    return target


def rewrite(path: Path, data: bytes) -> None:
    """Other bytes under a name, leaving what shared its inode alone."""
    path.unlink()
    path.write_bytes(data)


@pytest.fixture(scope="session")
def bundle(locked: Locked, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The bundle; to be read only."""
    media = tmp_path_factory.mktemp("media")
    place = clone(locked.factory, tmp_path_factory.mktemp("bundling") / "factory")
    done(airlock("bundle", "--media", media, "--factory", place, locked.definition))
    (found,) = media.iterdir()
    return found


@pytest.fixture
def own(locked: Locked, tmp_path: Path) -> Locked:  # noqa: F811
    """A factory with the whole lock, to be broken."""
    made = Locked(clone(locked.factory, tmp_path / "own"), clone(locked.definition, tmp_path / "definition"))
    return made


@pytest.fixture
def site(tmp_path: Path) -> Path:
    place = tmp_path / "site"
    place.mkdir()
    (place / "site.toml").write_text('name = "test"\n')
    return place


Disk = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Makes a disk of so many MiB at a folder, or gives one that is there another size."""
    mounted: list[Path] = []

    def make(name: str, size: int) -> Path:
        if os.geteuid() != 0:
            pytest.skip("a disk of its own wants root")
        place = tmp_path / name
        if place in mounted:
            subprocess.run(["mount", "-o", f"remount,size={size}m", place], check=True)
            return place
        place.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=755", "tmpfs", place], check=True)
        mounted.append(place)
        return place

    yield make
    for place in mounted:
        subprocess.run(["umount", "--lazy", place], check=True)
