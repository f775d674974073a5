"""One real lock of ``base``, made once; stand-in upstreams that hold it; definitions and factories to break."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.integration.faults.airlock_runs import CACHE, ROOT, airlock, done
from tests.integration.faults.upstreams import Shelf, Upstreams, serve, write_archive
from tests.integration.lock.test_apt_archive import Archive

from airlock.core.files import exclusive
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.lock.apt_index import pool_filename
from airlock.lock.files import load_lock
from airlock.lock.model import Lock
from airlock.store.pool import Pool

CONSTRAINTS = ROOT / "examples/keystone/upper-constraints.txt"
RELEASE = """\
name = "{name}"
openstack = "2024.1"
images = {images}
{top}
[kolla]
version = "18.8.0"
template_overrides = {overrides}
[base]
distribution = "debian"
release = "bookworm"
architectures = ["x86_64"]
{tables}
"""


def write_definition(
    folder: Path,
    *,
    name: str = "faults",
    images: str = '["base"]',
    top: str = "",
    tables: str = "",
    overrides: dict[str, str] | None = None,
) -> Path:
    """A release definition in ``folder``, with its template overrides (file name → text)."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (overrides or {}).items():
        (folder / file).write_text(text)
    shutil.copyfile(CONSTRAINTS, folder / "upper-constraints.txt")
    text = RELEASE.format(name=name, images=images, top=top, tables=tables, overrides=list(overrides or {}))
    (folder / "release.toml").write_text(text)
    return folder


@dataclass(frozen=True)
class Locked:
    """A factory that holds all of a definition's lock. To be read only."""

    factory: Path
    definition: Path

    @property
    def loaded(self) -> LoadedDefinition:
        return load_definition(self.definition)

    @property
    def lock(self) -> Lock:
        return load_lock(self.loaded.lock_path)

    @property
    def pool(self) -> Pool:
        return Pool(self.factory / "pool")

    @property
    def indexes(self) -> Path:
        return self.factory / "indexes" / self.lock.digest


@pytest.fixture(scope="session")
def locked() -> Locked:
    """``base``, locked and fetched from the real upstreams; kept until what reads and locks changes."""
    digest = hashlib.sha256()
    for room in ("kolla", "lock", "definition"):
        for file in sorted((ROOT / "src/airlock" / room).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(str(file).encode() + b"\0" + file.read_bytes())
    place = CACHE / "locked" / digest.hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with exclusive(CACHE / "locked.lock", "the tests' lock"):
        if not (place / "complete").exists():
            shutil.rmtree(CACHE / "locked", ignore_errors=True)
            definition = write_definition(place / "definition")
            done(airlock("lock", "--factory", place / "factory", definition))
            done(airlock("refresh", "--factory", place / "factory", definition))
            (place / "complete").touch()
    return Locked(place / "factory", place / "definition")


@pytest.fixture(scope="session")
def _upstreams(locked: Locked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstreams]:
    with TemporaryDirectory(prefix="gpg") as home:  # gpg-agent's socket needs a short path
        archive = Archive(tmp_path_factory.mktemp("archive"), Path(home))
        write_archive(locked.indexes, archive)
        debs = {
            f"/{deb.upstream}/{path}": locked.pool.path(deb.sha256)
            for deb in locked.lock.artifacts
            if deb.kind == "deb"
            for path in (deb.path, pool_filename(deb))
        }
        yield from serve(Upstreams(Shelf(CACHE / "index"), archive.root, debs, archive.keyring, archive.gpg))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


@pytest.fixture
def upstreams(_upstreams: Upstreams) -> Iterator[Upstreams]:
    """Stand-in upstreams; what a test breaks is whole again after it."""
    _upstreams.asked.clear()
    yield _upstreams
    _upstreams.faults.clear()


Factory = Callable[..., Path]


@pytest.fixture
def factory(upstreams: Upstreams, locked: Locked, tmp_path: Path) -> Path:
    """An empty factory that takes everything from the stand-ins; Kolla's environments are shared."""
    place = tmp_path / "factory"
    place.mkdir()
    (place / "factory.toml").write_text(upstreams.settings())
    (place / "cache").symlink_to(locked.factory / "cache")
    return place


Define = Callable[..., Path]


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """Writes a definition (see ``write_definition``) and returns its folder."""
    return lambda **changes: write_definition(tmp_path / "definition", **changes)
