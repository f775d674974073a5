"""The real base of Kolla with extrepo's repository kept: locked, proved, harmed, built sealed; and the real extrepo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.apt_upstream import Upstreams, keys
from tests.extrepo_upstream import NAME, SIGNER, ExtrepoData, debian_with, extrepo_package, repositories
from tests.integration.faults.airlock_runs import CACHE, airlock, done, refused
from tests.integration.kolla.conftest import kolla_environment
from tests.site_build import built_at_site, bundled

from airlock.definition.load import load_definition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.files import load_lock
from airlock.lock.gather import gather
from airlock.lock.model import Artifact, Lock
from airlock.store.pool import Pool

FACTORY = CACHE.parent / "extrepo"
PACKAGES = CACHE.parent / "extrepo-debs"
SOURCES = f"/etc/apt/sources.list.d/extrepo_{NAME}.sources"
KEYRING = f"/var/lib/extrepo/keys/{NAME}.asc"
VERSION = "9:1.8-1~bpo12+1"
RELEASE = f"""\
name = "extrepo"
openstack = "2024.1"
images = ["base"]
vendor_repositories = ["{NAME}"]
[kolla]
version = "18.8.0"
[base]
distribution = "debian"
release = "bookworm"
architectures = ["x86_64"]
[checks]
base = ["sh", "-ec", '''
grep -x {VERSION} /usr/share/stand-in/socat
test "$(cat {SOURCES})" = "Types: deb
URIs: http://mirror.airlock.internal/apt/{NAME}
Suites: bookworm-caracal-backports bookworm-caracal-backports-nochange
Components: main
Architectures: amd64 arm64
Signed-By: {KEYRING}
Trusted: yes"
gpg --show-keys {KEYRING}
test "$(stat -c '%U %a' {KEYRING} {SOURCES})" = "root 644
root 644"
! command -v extrepo
test -z "$(ls /var/lib/apt/lists)"
''']
"""


class World(msgspec.Struct):
    """The stand-ins, served, and a definition."""

    data: ExtrepoData
    definition: Path
    real: Path


def real_debs(*names: str) -> dict[str, Path]:
    """The .debs of Debian that these names mean, by name, kept for the next run."""
    PACKAGES.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not list(PACKAGES.glob(f"{name}_*.deb"))]
    if missing:
        subprocess.run(["apt-get", "-q", "download", *missing], cwd=PACKAGES, check=True, capture_output=True)
    return {name: next(PACKAGES.glob(f"{name}_*.deb")) for name in names}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    definition = folder / "definition"
    definition.mkdir()
    (definition / "upper-constraints.txt").write_text("pbr===6.0.0\n")
    (definition / "release.toml").write_text(RELEASE)
    kolla = KollaEnvironment(kolla_environment("18.8.0"))
    gathered = gather(kolla, load_definition(definition), "x86_64", folder / "rendered")
    real = gathered.tree.upstreams["debian"]
    with keys() as ring:
        for name in ("debian", SIGNER, NAME):
            ring.make(name)
        upstreams = Upstreams(folder / "upstreams", ring)
        suites = repositories(upstreams.root / "osbpo")
        suites[0].add("socat", VERSION, "amd64")
        for suite in suites:
            suite.publish(ring, NAME)
        with upstreams.served():
            data = ExtrepoData(upstreams)
            data.add(NAME, ring.public(NAME), f"{upstreams.address}/osbpo")
            data.publish()
            found = real_debs("extrepo")["extrepo"]
            package = extrepo_package(folder, data.url, ring.public(SIGNER, armored=False), found)
            (folder / "debian.gpg").write_bytes(ring.public("debian", armored=False))
            with debian_with(package, real, ring, "debian") as debian:
                FACTORY.mkdir(parents=True, exist_ok=True)
                keyrings = ["/usr/share/keyrings/debian-archive-keyring.gpg", str(folder / "debian.gpg")]
                # Where data and repository are stands in the package and the index alone.
                (FACTORY / "factory.toml").write_text(
                    f'[upstreams.debian]\naddress = "{debian}"\nstand_in = true\n'
                    f"[apt]\nkeyrings = {keyrings}\n[fetch]\nretries = 1\n"
                )
                yield World(data, definition, package)


@pytest.fixture(scope="module")
def lock(world: World) -> Lock:
    done(airlock("lock", "--factory", FACTORY, world.definition, timeout=900))
    done(airlock("refresh", "--factory", FACTORY, world.definition, timeout=900))
    return load_lock(world.definition / "airlock.lock")


def locked(lock: Lock) -> tuple[Artifact, Artifact]:
    """(key, source) that answer ``extrepo enable``."""
    (demand,) = [demand for demand in lock.demands if demand.kind == "vendor-repository"]
    found = {lock.by_id[ident].kind: lock.by_id[ident] for ident in demand.artifacts}
    return found["key"], found["file"]


@pytest.mark.full
def test_it_is_proved_and_solved_again(lock: Lock, world: World) -> None:
    debs = {one.name: f"{one.upstream} {one.version}" for one in lock.artifacts if one.kind == "deb"}
    assert debs["socat"] == f"{NAME} {VERSION}"
    assert debs["extrepo"] == "debian 0.11"
    proof = json.loads(done(airlock("validate", "--json", "--factory", FACTORY, world.definition)).stdout)
    assert proof["gaps"] == []
    said = done(airlock("lock", "--check", "--factory", FACTORY, world.definition, timeout=900)).stdout
    assert "the same bytes" in said
    before = (world.definition / "airlock.lock").read_bytes()
    done(airlock("lock", "--factory", FACTORY, world.definition, timeout=900))
    assert (world.definition / "airlock.lock").read_bytes() == before


@pytest.mark.full
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_key_or_source_that_is_not_as_locked_is_named(lock: Lock, world: World, which: int, harm: str) -> None:
    artifact = locked(lock)[which]
    path = Pool(FACTORY / "pool").path(artifact.sha256)
    kept = path.read_bytes()
    try:
        if harm == "missing":
            path.unlink()
        else:
            path.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
        result = airlock("validate", "--factory", FACTORY, world.definition)
    finally:
        path.write_bytes(kept)
    refused(result, 9, artifact.id, "missing" if harm == "missing" else "wrong content")


@pytest.mark.full
def test_another_repository_moves_only_when_it_is_named(lock: Lock, world: World, tmp_path: Path) -> None:
    definition = shutil.copytree(world.definition, tmp_path / "definition")
    index = world.data.index[NAME]
    kept = index["source"]
    try:
        index["source"] = kept | {"Architectures": "amd64"}
        world.data.publish()
        done(airlock("lock", "--factory", FACTORY, definition, timeout=900))
        assert (definition / "airlock.lock").read_bytes() == (world.definition / "airlock.lock").read_bytes()
        said = done(airlock("lock", "--update", "extrepo", "--factory", FACTORY, definition, timeout=900)).stdout
    finally:
        index["source"] = kept
        world.data.publish()
    assert f"file {NAME}" in said
    moved = load_lock(definition / "airlock.lock")
    assert locked(moved)[0] == locked(lock)[0]
    assert locked(moved)[1].sha256 != locked(lock)[1].sha256


@pytest.mark.full
@pytest.mark.skipif(os.geteuid() != 0, reason="a sealed room wants root")
def test_base_is_built_sealed_with_its_package_key_and_source(lock: Lock, world: World, tmp_path: Path) -> None:
    record = built_at_site(bundled(world.definition, FACTORY, tmp_path), tmp_path)
    served = {one["path"].rpartition("/")[2]: one["sha256"] for one in record["served"]}
    for artifact in locked(lock):
        assert served[artifact.file] == artifact.sha256
    assert "socat_9%3a1.8-1~bpo12+1_amd64.deb" in served
