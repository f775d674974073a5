"""The real archive: what is foreseen for keystone's images is what mmdebstrap and apt install. Needs root."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from airlock.core.process import clean_environment
from airlock.core.settings import FetchTable
from airlock.engine.mmdebstrap import make_base
from airlock.fetch.witness import Witness
from airlock.kolla.apt_sources import AptSource, upstream_name
from airlock.lock.apt_index import apt_indexes
from airlock.lock.apt_python import fetch_debs, python_debs, python_dists
from airlock.lock.apt_resolver import AptCommand, AptFile, AptResolver, AptResult, AptStep
from airlock.lock.apt_text import fields
from airlock.lock.apt_verify import solve_from_index
from airlock.lock.model import Artifact
from airlock.store.pool import Pool

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PIN = b"Package: *\nPin: release n=bookworm-backports\nPin-Priority: -1000\n"
# The apt commands of Kolla 18.8.0's Dockerfiles for Debian, without those that change no package.
IMAGES = {
    "base": [
        "apt-get -y install --no-install-recommends adduser ca-certificates curl gnupg",
        "apt install -y --no-install-recommends extrepo",
        "apt purge -y extrepo",
        "apt --purge autoremove -y",
        "PIN",
        "apt-get -y install locales",
        "apt-get -y upgrade",
        "apt-get -y dist-upgrade",
        "apt-get -y install --no-install-recommends apt-utils dumb-init systemd-standalone-sysusers gawk iproute2 kmod"
        " lsof lvm2 netbase open-iscsi procps python3 python3-pip socat sudo tgt",
    ],
    "openstack-base": [
        "apt-get -y install --no-install-recommends apache2 build-essential ca-certificates git"
        " libapache2-mod-wsgi-py3 libffi-dev libpcre3-dev libpq-dev libssl-dev libxml2-dev libxslt1-dev libyaml-dev"
        " libz-dev pkg-config python3-dev python3-venv zip",
    ],
    "keystone-base": [
        "apt-get -y install --no-install-recommends libapache2-mod-auth-mellon libapache2-mod-auth-openidc"
        " libldap-common libldap2-dev libsasl2-dev",
    ],
    "keystone": ["apt-get -y install --no-install-recommends libapache2-mod-auth-gssapi libkrb5-dev"],
}


class Locked(msgspec.Struct):
    """What locking found, and where it is kept."""

    pool: Pool
    transcript: str
    sources: list[AptSource]
    releases: dict[str, dict[str, str]]
    results: dict[str, AptResult]

    @property
    def artifacts(self) -> dict[str, Artifact]:
        return {found.id: found for result in self.results.values() for found in result.artifacts}

    @property
    def indexes(self) -> dict[str, bytes]:
        stanzas = {ident: text for result in self.results.values() for ident, text in result.stanzas.items()}
        return apt_indexes(self.artifacts.values(), stanzas, self.sources, self.releases)


def host_sources() -> list[AptSource]:
    """Kolla's four suites at the addresses that this machine's own apt has for Debian."""
    command = ["apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Created-By: Packages"]
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout
    addresses = {upstream_name(line): line.rstrip("/") for line in output.split()}
    suites = [("debian", ""), ("debian-security", "-security"), ("debian", "-updates"), ("debian", "-backports")]
    return [AptSource(name, addresses[name], f"bookworm{tail}", ("main",)) for name, tail in suites]


def steps(image: str) -> list[AptStep]:
    pin = AptFile("/etc/apt/preferences", PIN)
    return [pin if line == "PIN" else AptCommand(tuple(line.split()), n) for n, line in enumerate(IMAGES[image], 1)]


def solve(apt: AptResolver) -> dict[str, AptResult]:
    results = {"": apt.base("x86_64")}
    state = results[""].state
    for image in IMAGES:
        results[image] = apt.resolve(image, "x86_64", steps(image), state)
        state = results[image].state
    return results


async def record(root: Path) -> Locked:
    pool, sources = Pool(root / "pool"), host_sources()
    async with Witness.record(pool, {source.upstream: source.address for source in sources}, FetchTable()) as witness:
        apt = AptResolver(
            root=root / "apt", sources=sources, addresses=witness.url, keyrings=[KEYRING], debian_arch="amd64"
        )
        apt.update()
        results = solve(apt)
        await asyncio.gather(*(witness.get(deb.upstream, deb.path) for deb in results[""].artifacts))
        debs = [deb for result in results.values() for deb in result.artifacts]
        stanzas = {ident: text for result in results.values() for ident, text in result.stanzas.items()}
        await fetch_debs(python_debs(debs, stanzas), witness, pool)
        return Locked(pool, pool.add_bytes(witness.transcript()), sources, apt.releases, results)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Locked:
    return asyncio.run(record(tmp_path_factory.mktemp("locked")))


def test_solving_again_offline_gives_the_same(locked: Locked, tmp_path: Path) -> None:
    async def replay() -> dict[str, AptResult]:
        async with Witness.replay(locked.pool, locked.transcript) as witness:
            apt = AptResolver(
                root=tmp_path, sources=locked.sources, addresses=witness.url, debian_arch="amd64", trusted=True
            )
            apt.update()
            return solve(apt)

    assert asyncio.run(replay()) == locked.results


def test_the_index_alone_leads_to_the_same_packages(locked: Locked, tmp_path: Path) -> None:
    apt = solve_from_index(
        locked.indexes, root=tmp_path, sources=locked.sources, debian_arch="amd64", artifacts=locked.artifacts.values()
    )
    again = solve(apt)
    assert {name: found.plan for name, found in again.items()} == {n: r.plan for n, r in locked.results.items()}
    assert {name: found.state for name, found in again.items()} == {n: r.state for n, r in locked.results.items()}


def test_pip_and_its_friends_are_found_in_the_debs(locked: Locked) -> None:
    stanzas = {ident: text for result in locked.results.values() for ident, text in result.stanzas.items()}
    installed = [locked.artifacts[ident] for ident in locked.results["keystone"].state.artifacts]
    dists = python_dists(python_debs(installed, stanzas), locked.pool)
    versions = locked.results["keystone"].state.versions
    for name in ("pip", "setuptools", "wheel"):
        assert versions[f"python3-{name}"].startswith(dists[name])


def serve(locked: Locked, folder: Path) -> str:
    """The bundle's indexes and the pool as files; returns lines for apt."""
    for name, data in locked.indexes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for deb in locked.artifacts.values():
        place = folder / "pool" / deb.sha256[:2] / deb.sha256 / deb.file
        if locked.pool.has(deb.sha256):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(locked.pool.path(deb.sha256))
    for source in locked.sources:
        link = folder / "apt" / source.upstream / "pool"
        if not link.is_symlink():
            link.symlink_to(folder / "pool")
    lines = (f"deb [trusted=yes] copy:{quote(str(folder))}/apt/{s.upstream} {s.suite} main\n" for s in locked.sources)
    return "".join(lines)


def sealed_list(locked: Locked) -> str:
    return "".join(source.sealed_line + "\n" for source in locked.sources)


def base_tar(locked: Locked, folder: Path, name: str) -> Path:
    lines = serve(locked, folder / "served")
    make_base(
        tar=folder / name, sources_list=sealed_list(locked), fetch_list=lines, suite="bookworm", debian_arch="amd64",
        run_prefix=["unshare", "--net"], source_date_epoch=1_700_000_000,
    )  # fmt: skip
    return folder / name


def unpack(tar: Path, root: Path) -> Path:
    root.mkdir()
    subprocess.run(["tar", "-C", root, "-xf", tar], check=True)
    return root


def real_state(root: Path) -> tuple[dict[str, str], set[str]]:
    """(versions, automatic marks) as dpkg and apt have them in a root file system."""
    status = [fields(text) for text in (root / "var/lib/dpkg/status").read_text().split("\n\n") if text.strip()]
    marks = [fields(text) for text in (root / "var/lib/apt/extended_states").read_text().split("\n\n")]
    versions = {one["package"]: one["version"] for one in status if one["status"] == "install ok installed"}
    auto = {one["package"] for one in marks if one.get("auto-installed") == "1"}
    return versions, auto & versions.keys()


@pytest.fixture(scope="module")
def base(locked: Locked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_tar(locked, tmp_path_factory.mktemp("base"), "base.tar")


def test_the_base_image_holds_what_was_foreseen_and_sealed_sources(locked: Locked, base: Path, tmp_path: Path) -> None:
    root = unpack(base, tmp_path / "root")
    versions, auto = real_state(root)
    foreseen = locked.results[""].state
    assert versions == foreseen.versions
    assert auto == set(foreseen.auto)
    assert (root / "etc/apt/sources.list").read_text() == sealed_list(locked)
    assert list((root / "etc/apt/sources.list.d").iterdir()) == []
    assert list((root / "var/lib/apt/lists").rglob("*Packages*")) == []
    assert not (root / "etc/resolv.conf").exists()
    assert not (root / "etc/hostname").exists()
    assert b"copy:" not in b"".join(file.read_bytes() for file in (root / "etc/apt").rglob("*") if file.is_file())


def test_the_same_packages_make_the_same_bytes(locked: Locked, base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "another place, with spaces"
    again = base_tar(locked, folder, "again.tar")
    assert again.read_bytes() == base.read_bytes()


@pytest.fixture
def chroot(base: Path, tmp_path: Path) -> Iterator[Path]:
    root = unpack(base, tmp_path / "root")
    (root / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
    # Unlike apt-get, apt would throw away what it fetched.
    (root / "etc/apt/apt.conf.d/docker-clean").write_text('Binary::apt::APT::Keep-Downloaded-Packages "true";\n')
    return root


@pytest.mark.full
def test_apt_installs_in_every_image_what_was_foreseen(locked: Locked, chroot: Path, tmp_path: Path) -> None:
    async def build() -> None:
        addresses = {source.upstream: source.address for source in locked.sources}
        async with Witness.record(locked.pool, addresses, FetchTable()) as witness:
            lines = (f"deb {witness.url(source.upstream)} {source.suite} main\n" for source in locked.sources)
            (chroot / "etc/apt/sources.list").write_text("".join(lines))
            inside(chroot, "apt-get", "update")
            for image, result in locked.results.items():
                for step in steps(image) if image else ():
                    if isinstance(step, AptFile):
                        (chroot / step.path.lstrip("/")).write_bytes(step.data or b"")
                    else:
                        await asyncio.to_thread(inside, chroot, *step.words)
                versions, auto = real_state(chroot)
                assert versions == result.state.versions, image
                assert auto == set(result.state.auto), image
            fetched = {deb.name.replace("%3a", ":") for deb in (chroot / "var/cache/apt/archives").glob("*.deb")}
        foreseen = {
            f"{deb.name}_{deb.version}_{deb.arch}.deb"
            for image, result in locked.results.items()
            for deb in result.artifacts
            if image
        }
        assert fetched == foreseen

    asyncio.run(build())


def inside(root: Path, *words: str) -> None:
    command = ["unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", root, *words]
    env = clean_environment(DEBIAN_FRONTEND="noninteractive")
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, f"{words}: {result.stdout[-2000:]} {result.stderr[-2000:]}"
