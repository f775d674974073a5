"""Ubuntu 22.04 goes the way of Debian: against an archive of Ubuntu's layout, with packages that are made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.apt_upstream import Upstreams, keys
from tests.integration.faults.airlock_runs import CACHE, airlock, done, refused
from tests.integration.kolla.conftest import kolla_environment
from tests.ubuntu_archive import UbuntuArchive, asked_names

from airlock.core.progress import SilentReporter
from airlock.definition.load import load_definition
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.apt_images import resolve_apt
from airlock.lock.apt_resolver import AptResolver
from airlock.lock.files import load_lock
from airlock.lock.gather import Gathered, gather
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

ARCHITECTURES = ("x86_64", "aarch64")
FACTORY = CACHE.parent / "ubuntu"
RELEASE = """\
name = "ubuntu"
openstack = "2024.1"
images = {images}
{more}
[kolla]
version = "18.8.0"
[base]
distribution = "{distribution}"
release = "{release}"
architectures = ["x86_64", "aarch64"]
"""


def write(folder: Path, images: str, more: str = "", distribution: str = "ubuntu", release: str = "jammy") -> Path:
    folder.mkdir()
    (folder / "upper-constraints.txt").write_text("pbr===6.0.0\n")
    text = RELEASE.format(images=images, more=more, distribution=distribution, release=release)
    (folder / "release.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def shortfalls() -> dict[str, Shortfall]:
    """Images that take from vendors, Ruby or Galaxy."""
    return {arch: Shortfall(arch, keep_going=True) for arch in ARCHITECTURES}


@pytest.fixture(scope="module")
def rendered(shortfalls: dict[str, Shortfall], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Gathered]:
    """Every image of Kolla's for Ubuntu."""
    folder = tmp_path_factory.mktemp("ubuntu")
    kolla = KollaEnvironment(kolla_environment("18.8.0"))
    loaded = load_definition(write(folder / "all", '"all"'))
    return {arch: gather(kolla, loaded, arch, folder / "w", shortfalls[arch]) for arch in ARCHITECTURES}


@pytest.fixture(scope="module")
def archive(rendered: dict[str, Gathered], tmp_path_factory: pytest.TempPathFactory) -> Iterator[UbuntuArchive]:
    folder = tmp_path_factory.mktemp("archive")
    with keys() as ring:
        made = UbuntuArchive(Upstreams(folder / "upstreams", ring), folder, asked_names(rendered.values()))
        with made.upstreams.served():
            yield made


def test_kollas_list_of_mirrors_and_its_archives_are_three_upstreams(rendered: dict[str, Gathered]) -> None:
    places = {arch: {(one.upstream, one.suite) for one in rendered[arch].base_sources} for arch in ARCHITECTURES}
    cloud = ("ubuntu-cloud", "jammy-updates/caracal")
    suites = ["jammy", "jammy-updates", "jammy-security", "jammy-backports"]
    assert places["x86_64"] == {cloud, *(("ubuntu", suite) for suite in suites)}
    assert places["aarch64"] == {cloud, *(("ports-ubuntu-com", suite) for suite in suites)}
    # Behind the list of mirrors is the archive that Kolla's own list names, too.
    assert all(address.startswith("http") for one in rendered.values() for address in one.tree.upstreams.values())


@pytest.mark.full
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_images_apt_commands_are_resolved(
    rendered: dict[str, Gathered],
    shortfalls: dict[str, Shortfall],
    archive: UbuntuArchive,
    tmp_path: Path,
    arch: str,
) -> None:
    gathered = rendered[arch]
    resolver = AptResolver(
        root=tmp_path / "apt", sources=gathered.apt_sources, keyrings=archive.keyrings,
        addresses=lambda name: f"{archive.upstreams.address}/{name}", debian_arch=DEBIAN_ARCHITECTURES[arch],
    )  # fmt: skip
    resolver.update()
    results = resolve_apt(gathered, resolver, Pool(tmp_path / "pool"), SilentReporter(), shortfalls[arch])
    refused = {one.image for one in shortfalls[arch].refused}
    assert set(results) == {image.name for image in gathered.tree.images} - refused
    assert len(results) > 150
    versions = {name: result.state.versions for name, result in results.items()}
    assert versions["base"]["libc6"] == "2", "updates win over security where they are newer"
    assert versions["haproxy"]["haproxy"] == "1", "backports want to be asked for"
    assert {"memcached", "lib-of-all"} <= versions["memcached"].keys()
    assert "not-wanted" not in versions["memcached"]
    signed = f"grub-efi-{DEBIAN_ARCHITECTURES[arch]}-signed"
    assert signed in versions["ironic-pxe"]
    upstreams = {artifact.upstream for result in results.values() for artifact in result.artifacts}
    assert upstreams <= {"ubuntu" if arch == "x86_64" else "ports-ubuntu-com", "ubuntu-cloud"}


@pytest.mark.full
def test_real_images_are_locked_and_proved_for_both_architectures(archive: UbuntuArchive, tmp_path: Path) -> None:
    images = '["memcached", "haproxy", "keepalived", "cron"]'
    definition = write(tmp_path / "d", images)
    FACTORY.mkdir(parents=True, exist_ok=True)
    (FACTORY / "factory.toml").write_text(archive.settings)
    done(airlock("lock", "--factory", FACTORY, definition, timeout=900))
    done(airlock("refresh", "--factory", FACTORY, definition, timeout=900))
    proof = json.loads(done(airlock("validate", "--json", "--factory", FACTORY, definition)).stdout)
    assert proof["gaps"] == []
    lock = load_lock(definition / "airlock.lock")
    assert {image.arch for image in lock.images} == set(ARCHITECTURES)
    debs = [artifact for artifact in lock.artifacts if artifact.kind == "deb"]
    assert {artifact.upstream for artifact in debs} >= {"ubuntu", "ports-ubuntu-com"}
    assert all(artifact.stand_in for artifact in debs)
    assert "the same bytes" in done(airlock("lock", "--check", "--factory", FACTORY, definition, timeout=900)).stdout


@pytest.mark.parametrize(("distribution", "release"), [("rocky", "9"), ("centos", "stream9")])
def test_of_rpm_it_is_said_that_there_is_no_solver(tmp_path: Path, distribution: str, release: str) -> None:
    definition = write(tmp_path / "d", '["memcached"]', distribution=distribution, release=release)
    result = airlock("lock", "--factory", tmp_path / "factory", definition)
    said = refused(result, 5, f"packages of {distribution} cannot be resolved")
    assert "airlock classify" in said
