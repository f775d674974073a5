"""Sources from a stand-in on loopback: branch tarballs, third parties with and without a declared sha256, releases."""

from __future__ import annotations

import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from airlock.core.digest import sha256_bytes
from airlock.core.errors import GoneError, IntegrityError, ResolutionError
from airlock.core.settings import FetchTable
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.fetch.witness import Witness
from airlock.kolla.environment import SourceWant
from airlock.lock.downloads import resolve_downloads
from airlock.lock.model import Artifact, Demand
from airlock.lock.python_model import SourceTree
from airlock.lock.shortfall import Shortfall
from airlock.lock.sources import SourceResolver
from airlock.store.pool import Pool

ONCE = FetchTable(connections=2, retries=1, timeout=5.0)


class Stand:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.address = ""

    def page(self, name: str, *files: str) -> None:
        listed = []
        for file in files:
            self.files[f"/files/{file}"] = file.encode()
            entry = {"filename": file, "url": f"/files/{file}", "hashes": {"sha256": sha256_bytes(file.encode())}}
            listed.append(entry | {"size": len(file)})
        body = {"meta": {"api-version": "1.1"}, "name": name, "files": listed}
        self.files[f"/simple/{name}/"] = json.dumps(body).encode()

    async def handle(self, request: web.Request) -> web.Response:
        if place := self.moved.get(request.path):
            raise web.HTTPFound(place)
        if request.path not in self.files:
            raise web.HTTPNotFound
        kind = "application/vnd.pypi.simple.v1+json" if request.path.startswith("/simple/") else "application/x-tar"
        return web.Response(body=self.files[request.path], headers={"Content-Type": kind})


@asynccontextmanager
async def serving(stand: Stand) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/{path:.*}", stand.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    one = Stand()
    async with serving(one):
        yield one


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def definition(tmp_path: Path, sources: str, arch: str = "x86_64") -> LoadedDefinition:
    folder = tmp_path / "definition"
    folder.mkdir(exist_ok=True)
    (folder / "upper-constraints.txt").write_text("pycadf===3.1.1\novs===3.2.0\n")
    (folder / "release.toml").write_text(
        'name = "test"\nopenstack = "2024.1"\nimages = ["keystone"]\n[kolla]\nversion = "18.8.0"\n'
        f'[base]\ndistribution = "debian"\nrelease = "bookworm"\narchitectures = ["{arch}"]\n[sources]\n{sources}\n'
    )
    return load_definition(folder)


Answer = tuple[Artifact, SourceTree]


async def solve(
    stand: Stand, pool: Pool, tmp_path: Path, want: SourceWant, sources: str = "", arch: str = "x86_64"
) -> tuple[Answer, dict[str, str]]:
    loaded = definition(tmp_path, sources, arch)
    upstreams = {"pypi": f"{stand.address}/simple", "opendev": f"{stand.address}/tarballs"}

    async def answer(witness: Witness) -> tuple[Answer, dict[str, str]]:
        resolver = SourceResolver(loaded, arch, f"{stand.address}/tarballs", witness, pool)
        return await resolver.resolve(want, "image keystone-base, line 24"), resolver.upstreams

    async with Witness.record(pool, upstreams, ONCE) as witness:
        found = await answer(witness)
        transcript = pool.add_bytes(witness.transcript())
    async with Witness.replay(pool, transcript) as witness:
        assert await answer(witness) == found, "solving again offline gives another answer"
    assert found[0][1].path == pool.path(found[0][0].sha256)
    assert pool.check(found[0][0].sha256, found[0][0].size) == ""
    return found


def want(section: str, location: str, **changes: Any) -> SourceWant:
    return SourceWant(**({"section": section, "role": "source", "type": "url", "location": location} | changes))


def keystone(stand: Stand, **changes: Any) -> SourceWant:
    location = f"{stand.address}/tarballs/openstack/keystone/keystone-stable-2024.1.tar.gz"
    return want("keystone-base", location, **changes)


async def test_a_branch_tarball_is_fetched_and_first_seen(stand, pool, tmp_path):
    stand.files["/tarballs/openstack/keystone/keystone-stable-2024.1.tar.gz"] = b"branch" * 100_000
    (found, tree), _ = await solve(stand, pool, tmp_path, keystone(stand), 'default = "branch"')
    assert (found.id, found.version) == ("source/keystone-stable-2024.1.tar.gz", "stable-2024.1")
    assert (found.upstream, found.path) == ("opendev", "openstack/keystone/keystone-stable-2024.1.tar.gz")
    assert found.trust == "first-seen"
    assert (tree.name, tree.file, tree.artifact) == ("keystone", found.file, found.id)


async def test_a_project_has_the_name_that_pip_reads_in_it_released_or_not(stand, pool, tmp_path):
    place = want("heat-base", f"{stand.address}/tarballs/openstack/heat/heat-stable-2024.1.tar.gz")
    stand.files["/tarballs/openstack/heat/heat-stable-2024.1.tar.gz"] = b"branch"
    (_, branch), _ = await solve(stand, pool, tmp_path, place, 'default = "branch"')
    stand.page("openstack-heat", "openstack-heat-22.0.1.tar.gz")
    (found, release), _ = await solve(stand, pool, tmp_path, place, '[sources.release]\nheat-base = "==22.*"')
    assert (branch.name, release.name) == ("openstack-heat", "openstack-heat")
    assert found.path == "openstack-heat/openstack-heat-22.0.1.tar.gz"


async def test_a_branch_tarball_that_is_gone_names_the_section(stand, pool, tmp_path):
    with pytest.raises(GoneError, match="keystone-base") as caught:
        await solve(stand, pool, tmp_path, keystone(stand), 'default = "branch"')
    assert "sources.release" in caught.value.remedy


async def test_single_sections_may_differ_from_the_default(stand, pool, tmp_path):
    stand.files["/tarballs/openstack/keystone/keystone-stable-2024.1.tar.gz"] = b"branch"
    stand.page("keystone", "keystone-25.0.0.tar.gz", "keystone-26.0.0.tar.gz", "keystone-25.0.0-py3-none-any.whl")
    (branch, _), _ = await solve(stand, pool, tmp_path, keystone(stand), 'branch = ["keystone-base"]')
    assert branch.upstream == "opendev"
    release = 'default = "branch"\n[sources.release]\nkeystone-base = "==25.0.*"'
    (found, _), _ = await solve(stand, pool, tmp_path, keystone(stand), release)
    assert (found.kind, found.version, found.upstream) == ("source", "25.0.0", "pypi")
    assert found.path == "keystone/keystone-25.0.0.tar.gz"


async def test_a_release_without_an_entry_is_the_constraints_pin(stand, pool, tmp_path):
    stand.page("pycadf", "pycadf-3.1.1.tar.gz", "pycadf-4.0.0.tar.gz")
    plugin = want(
        "openstack-base-plugin-pycadf", f"{stand.address}/tarballs/openstack/pycadf/pycadf-4.0.0.tar.gz", role="plugin"
    )
    (found, _), _ = await solve(stand, pool, tmp_path, plugin)
    assert found.version == "3.1.1"


async def test_a_release_that_is_nowhere_names_section_and_remedy(stand, pool, tmp_path):
    with pytest.raises(ResolutionError, match="line 24: section keystone-base: neither") as caught:
        await solve(stand, pool, tmp_path, keystone(stand))
    assert "[sources.release]" in caught.value.remedy
    release = '[sources.release]\nkeystone-base = "==25.*"'
    with pytest.raises(ResolutionError, match="no project keystone"):
        await solve(stand, pool, tmp_path, keystone(stand), release)
    stand.page("keystone", "keystone-24.0.0.tar.gz")
    with pytest.raises(ResolutionError, match=r"no released sdist of keystone fits '==25\.\*'"):
        await solve(stand, pool, tmp_path, keystone(stand), release)


async def test_requirements_are_made_from_the_constraints_wherever_kolla_takes_them(stand, pool, tmp_path):
    place = f"{stand.address}/tarballs/openstack/requirements/requirements-stable-2024.1.tar.gz"
    (found, tree), _ = await solve(stand, pool, tmp_path, want("openstack-base", place), 'default = "branch"')
    assert (found.upstream, found.trust, found.file) == ("airlock", "made", "requirements-2024.1.tar.gz")
    with tarfile.open(tree.path) as archive:
        stream = archive.extractfile("requirements-2024.1/upper-constraints.txt")
        assert stream is not None
        assert stream.read() == b"pycadf===3.1.1\novs===3.2.0\n"


async def test_a_third_partys_archive_is_what_kolla_declares_on_each_architecture(stand, pool, tmp_path):
    etcd = {}
    for arch in ("amd64", "arm64"):
        stand.files[f"/etcd/v3/etcd-v3-linux-{arch}.tar.gz"] = etcd[arch] = f"etcd {arch}".encode()
    declared = {arch: sha256_bytes(data) for arch, data in etcd.items()}
    for arch, debian in (("x86_64", "amd64"), ("aarch64", "arm64")):
        place = want("etcd", f"{stand.address}/etcd/v3/etcd-v3-linux-{debian}.tar.gz", sha256=declared)
        (found, _), upstreams = await solve(stand, pool, tmp_path, place, arch=arch)
        assert (found.sha256, found.trust) == (declared[debian], "declared")
        assert upstreams == {found.upstream: stand.address}
        assert found.path == f"etcd/v3/etcd-v3-linux-{debian}.tar.gz"
    wrong = want("etcd", f"{stand.address}/etcd/v3/etcd-v3-linux-amd64.tar.gz", sha256={"amd64": "0" * 64})
    with pytest.raises(IntegrityError, match="section etcd"):
        await solve(stand, pool, tmp_path, wrong)
    with pytest.raises(ResolutionError, match="no sha256 for arm64"):
        await solve(stand, pool, tmp_path, wrong, arch="aarch64")


# As GitHub has them: the address of a release leads to a store on another host, with a signature that changes.
BINARIES = [
    ("etcd", "etcd-io/etcd/releases/download/v3.4.27/etcd-v3.4.27-linux-{}.tar.gz"),
    ("prometheus-cadvisor", "google/cadvisor/releases/download/v0.49.2/cadvisor-v0.49.2-linux-{}"),
    ("prometheus-mtail", "google/mtail/releases/download/v3.0.8/mtail.tar.gz"),
    ("magnum-conductor-plugin-helm", "helm-v3.16.3-linux-{}.tar.gz"),
]


@pytest.mark.parametrize(("section", "form"), BINARIES)
async def test_a_binary_is_found_behind_a_redirect_for_each_architecture(stand, pool, tmp_path, section, form):
    store = Stand()
    data = {debian: f"{section} for {debian}".encode() for debian in ("amd64", "arm64")}
    declared = {debian: sha256_bytes(one) for debian, one in data.items()}
    found: dict[str, Artifact] = {}
    async with serving(store):
        for arch, debian in (("x86_64", "amd64"), ("aarch64", "arm64")):
            place = form.format(debian)
            store.files[f"/store/{debian}"] = data[debian]
            stand.moved[f"/{place}"] = f"{store.address}/store/{debian}?signature=abc%2Fdef&expires=1"
            wanted = want(section, f"{stand.address}/{place}", sha256=declared)
            (found[arch], _), upstreams = await solve(stand, pool, tmp_path, wanted, arch=arch)
            assert (found[arch].sha256, found[arch].path, found[arch].arch) == (declared[debian], place, arch)
            assert found[arch].trust == "declared"
            assert upstreams == {found[arch].upstream: stand.address}, "where it was led to is not kept"
    assert len({one.id for one in found.values()}) == 2


async def test_a_file_of_a_run_is_fetched_from_an_upstream_named_after_its_host(stand, pool, tmp_path):
    store = Stand()
    async with serving(store):
        store.files["/raw/10.9/check.sh"] = b"#!/bin/bash\n"
        stand.moved["/r/10.9/check.sh"] = f"{store.address}/raw/10.9/check.sh?token=1"
        asked = [
            Demand("x86_64", "mariadb-base", 36, "file", f"{stand.address}/r/10.9/check.sh"),
            Demand("x86_64", "mariadb-base", 30, "apt", "install x"),
            Demand("x86_64", "zun-cni-daemon", 26, "file", f"{stand.address}/gone.tgz"),
        ]
        for keep_going in (True, False):
            shortfall = Shortfall("x86_64", keep_going=keep_going)
            async with Witness.record(pool, {}, ONCE) as witness:
                if not keep_going:
                    with pytest.raises(GoneError, match=r"zun-cni-daemon \(x86_64\), line 26: gone.tgz"):
                        await resolve_downloads(asked, witness, (), shortfall)
                    break
                found = await resolve_downloads(asked, witness, (), shortfall)
                assert [one.image for one in shortfall.refused] == ["zun-cni-daemon"]
                transcript = pool.add_bytes(witness.transcript())
    async with Witness.replay(pool, transcript) as witness:
        again = await resolve_downloads(asked[:1], witness, (), Shortfall("x86_64"))
    assert again.demands == found.demands
    (file,) = found.artifacts
    assert (file.kind, file.file, file.path, file.trust) == ("file", "check.sh", "r/10.9/check.sh", "first-seen")
    assert file.sha256 == sha256_bytes(b"#!/bin/bash\n")
    assert found.demands[0].artifacts == (file.id,)
    assert found.upstreams == {file.upstream: stand.address}


@pytest.mark.parametrize("kind", ["git", "local"])
async def test_what_cannot_be_carried_names_the_section(stand, pool, tmp_path, kind):
    place = want("gnocchi-base", f"{stand.address}/gnocchi.git", type=kind)
    with pytest.raises(ResolutionError, match=f"section gnocchi-base takes a {kind} source") as caught:
        await solve(stand, pool, tmp_path, place, 'default = "branch"')
    assert "[sources.release]" in caught.value.remedy
