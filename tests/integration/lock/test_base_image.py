"""A base image by digest from a real registry: locked, solved again offline, fetched again, proved, built from."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.image_registry import Image, Registry, registry, tar

from airlock.core.errors import GoneError, IntegrityError, ResolutionError, UpstreamError
from airlock.core.files import exclusive
from airlock.core.progress import SilentReporter
from airlock.core.settings import Factory, FetchTable, load_factory
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.kolla.apt_sources import AptSource
from airlock.lock.base_reference import fetch_bases, resolve_base
from airlock.lock.files import save_lock
from airlock.lock.indexes import build_indexes, write_indexes
from airlock.lock.model import Demand, Lock
from airlock.lock.refresh import refresh
from airlock.lock.resolve import check_lock, resolve_lock
from airlock.lock.validate import validate
from airlock.store.pool import Pool

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache/tests"
QUIET = SilentReporter()
NAME = "registry.example.org:5000"

pytestmark = [
    pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mmdebstrap needs root"),
]


def rootfs() -> Path:
    """A root file system of today, made once; the packages in it may be older than the archive's."""
    path = CACHE / "base-rootfs.tar"
    with exclusive(CACHE / "base-rootfs.lock", "the tests' root file system"):
        if not path.exists():
            part = path.with_suffix(".part.tar")
            part.unlink(missing_ok=True)
            subprocess.run(
                ["mmdebstrap", "--variant=required", "--include=apt", "--quiet", "bookworm", part], check=True
            )
            part.rename(path)
    return path


def upper() -> bytes:
    """A layer above it: no logs (as images often have none), a setting of apt's, a whiteout of another one."""
    return tar(
        {
            "var/log/.wh.dpkg.log": b"",
            "var/log/.wh.alternatives.log": b"",
            "etc/apt/apt.conf.d/10recommends": b'APT::Install-Recommends "false";\n',
            "etc/apt/apt.conf.d/.wh.70debconf": b"",
            "etc/apt/sources.list": b"deb http://elsewhere.example.org/debian bookworm main\n",
        }
    )


class Place:
    """A factory, a definition, a registry that has its base image."""

    def __init__(self, folder: Path, served: Registry) -> None:
        self.folder, self.served = folder, served
        self.image = Image([rootfs().read_bytes(), upper()])
        other = Image([tar({"etc/hostname": b"arm"})], architecture="arm64")
        self.digest = served.push("library/debian", [other, self.image])
        (folder / "factory").mkdir()
        self.address(served.address)

    def address(self, address: str) -> None:
        (self.folder / "factory/factory.toml").write_text(
            f'[upstreams."{NAME}"]\naddress = "{address}"\n[fetch]\nretries = 0\n'
        )

    @property
    def factory(self) -> Factory:
        return load_factory(self.folder / "factory")

    def define(self, digest: str = "", release: str = "bookworm", folder: str = "definition") -> LoadedDefinition:
        place = self.folder / folder
        place.mkdir(exist_ok=True)
        shutil.copy(ROOT / "examples/keystone/upper-constraints.txt", place)
        (place / "release.toml").write_text(
            'name = "based"\nopenstack = "2024.1"\nimages = ["base"]\nvendor_repositories = []\n'
            f'[kolla]\nversion = "18.8.0"\n[base]\ndistribution = "debian"\nrelease = "{release}"\n'
            f'architectures = ["x86_64"]\nimage = "{NAME}/library/debian:bookworm@{digest or self.digest}"\n'
        )
        return load_definition(place)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("based")
    with registry(folder) as served:
        yield Place(folder, served)


@pytest.fixture(scope="module")
def locked(place: Place) -> tuple[LoadedDefinition, Lock]:
    loaded = place.define()
    lock = asyncio.run(resolve_lock(loaded, place.factory, QUIET)).lock
    assert lock is not None
    save_lock(loaded.lock_path, lock)
    asyncio.run(refresh(lock, place.factory, {}, QUIET))
    write_indexes(build_indexes(lock, Pool(place.factory.pool)), place.factory.indexes / lock.digest)
    return loaded, lock


def images(lock: Lock) -> list:
    return [artifact for artifact in lock.artifacts if artifact.kind == "image"]


def test_the_lock_names_every_file_of_the_image_as_declared(place, locked):
    _, lock = locked
    (demand,) = [demand for demand in lock.demands if demand.kind == "base-image"]
    assert demand.spec == f"{NAME}/library/debian:bookworm@{place.digest}"
    found = images(lock)
    listed = place.digest.removeprefix("sha256:")
    expected = {listed, hashlib.sha256(place.image.manifest).hexdigest(), *place.image.blobs}
    assert {artifact.sha256 for artifact in found} == expected
    assert demand.artifacts == tuple(sorted(artifact.id for artifact in found))
    for artifact in found:
        assert artifact.id == f"image/{artifact.sha256[:12]}{artifact.file[64:]}"
        assert (artifact.upstream, artifact.trust) == (NAME, "declared")
        assert artifact.path == f"library/debian@{place.digest}"
    assert "127.0.0.1" not in lock.to_bytes().decode()


def test_what_the_image_has_is_not_installed_again(locked):
    _, lock = locked
    debs = {artifact.name for artifact in lock.artifacts if artifact.kind == "deb"}
    assert {"ca-certificates", "curl", "python3"} <= debs
    assert not {"dpkg", "bash", "libc6", "coreutils"} & debs


def test_it_is_solved_again_offline_from_the_pool(place, locked):
    loaded, lock = locked
    place.address("http://127.0.0.1:1")
    try:
        assert asyncio.run(check_lock(loaded, place.factory, lock, QUIET)) == []
    finally:
        place.address(place.served.address)


def test_refresh_fetches_again_what_is_lost_and_validate_names_it_until_then(place, locked):
    loaded, lock = locked
    pool = Pool(place.factory.pool)
    layer = next(artifact for artifact in images(lock) if artifact.file.endswith(".tar.gz"))
    sha256 = hashlib.sha256(place.image.config).hexdigest()
    config = next(artifact for artifact in images(lock) if artifact.sha256 == sha256)
    for victim in (layer, config):
        pool.path(victim.sha256).unlink()
    gaps = asyncio.run(validate(lock, loaded, place.factory, QUIET)).gaps
    for victim in (layer, config):
        assert any(victim.id in gap.what and "image base (x86_64), line 1" in gap.where for gap in gaps)
    result = asyncio.run(refresh(lock, place.factory, {}, QUIET))
    assert (result.fetched, result.present) == (2, len(lock.artifacts) - 2)
    assert asyncio.run(validate(lock, loaded, place.factory, QUIET)).gaps == ()


def test_an_artifact_taken_out_of_the_locks_answer_is_named(place, locked):
    loaded, lock = locked
    victim = images(lock)[0]
    demands = tuple(
        msgspec.structs.replace(demand, artifacts=tuple(ident for ident in demand.artifacts if ident != victim.id))
        for demand in lock.demands
    )
    artifacts = tuple(artifact for artifact in lock.artifacts if artifact is not victim)
    header = msgspec.structs.replace(
        lock.header, artifacts=lock.header.artifacts - 1, size=lock.header.size - victim.size
    )
    forged = Lock(header, lock.images, demands, artifacts)
    write_indexes(build_indexes(forged, Pool(place.factory.pool)), place.factory.indexes / forged.digest)
    gaps = asyncio.run(validate(forged, loaded, place.factory, QUIET)).gaps
    assert any(victim.id in gap.what for gap in gaps), gaps


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        ("digest", GoneError, "manifest unknown"),
        ("down", UpstreamError, r"http://127\.0\.0\.1:1: "),
        ("layer", GoneError, "404"),
        ("bytes", IntegrityError, "sha256"),
        ("architecture", ResolutionError, "linux arm64"),
        ("empty", ResolutionError, "holds no apt"),
        ("trixie", ResolutionError, "is of the release trixie"),
    ],
)
def test_each_fault_of_an_image_has_its_own_message(place, tmp_path, harm, error, words):
    layers = [tar({"var/lib/dpkg/status": b""})]
    if harm == "trixie":
        layers = [tar({"usr/lib/os-release": b"VERSION_CODENAME=trixie\n"})]
    image = Image([*layers, tar({f"{harm}": b""})], architecture="arm64" if harm == "architecture" else "amd64")
    digest = place.served.push(f"library/{harm}", [image])
    blob = place.served.blob(hashlib.sha256(image.packed[-1]).hexdigest())
    if harm == "layer":
        blob.unlink()
    elif harm == "bytes":
        blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    elif harm == "digest":
        digest = "sha256:" + "0" * 64
    pool = Pool(tmp_path / "pool")
    demand = Demand("x86_64", "base", 1, "base-image", f"{NAME}/library/{harm}:bookworm@{digest}")
    sources = [AptSource("debian", "http://mirror.example.org/debian", "bookworm", ("main",))]
    address = "http://127.0.0.1:1" if harm == "down" else place.served.address

    def resolve() -> None:
        fetch_bases([demand], pool, {NAME: address}, FetchTable(retries=0))
        resolve_base(demand, pool, sources)

    with pytest.raises(error, match=words) as caught:
        resolve()
    assert demand.spec in caught.value.message
    assert caught.value.remedy


@pytest.mark.full
def test_kollas_base_is_built_from_it_in_the_sealed_room(place, locked, tmp_path):
    loaded, lock = locked
    airlock = [sys.executable, "-c", "from airlock.cli.main import main; main()"]

    def verb(*words: str | Path) -> str:
        result = subprocess.run([*airlock, *words], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
        return result.stdout

    media, site = tmp_path / "media", tmp_path / "site"
    site.mkdir()
    (site / "site.toml").write_text('name = "test"\n')
    verb("bundle", "--factory", place.factory.root, "--media", media, loaded.folder)
    (bundle,) = media.iterdir()
    for artifact in images(lock):
        held = bundle / "pool" / artifact.sha256[:2] / f"{artifact.sha256}{artifact.file[64:]}"
        assert hashlib.sha256(held.read_bytes()).hexdigest() == artifact.sha256
    verb("verify", bundle)
    verb("import", "--site", site, bundle)
    digests = []
    for _ in range(2):
        verb("build", "--site", site, "--bundle", bundle.name, "--reason", "test", "--fresh")
        path = max((site / "records").glob("*/record.json"), key=lambda path: path.stat().st_mtime)
        record = json.loads(path.read_text())
        (image,) = record["images"]
        digests.append(image["digest"])
        assert record["state"] == "success"
        assert record["network"]["refused_packets"] == 0
        assert image["parent"] == f"sha256:{hashlib.sha256(place.image.config).hexdigest()}"
        lower = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in (rootfs().read_bytes(), upper())]
        assert image["diff_ids"][:2] == lower
        assert {"apt", "ca-certificates", "curl"} <= {package["name"] for package in image["packages"]}
    assert digests[0] == digests[1]
