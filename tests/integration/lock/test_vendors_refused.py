"""Vendor repositories and keys that are not what they claim: each is refused, by name, with what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.apt_upstream import Keys, Repository, Upstreams, keys

from airlock.core.errors import GoneError, IntegrityError, ResolutionError
from airlock.core.progress import SilentReporter
from airlock.core.settings import Factory, FactoryFile, FetchTable, UpstreamTable
from airlock.fetch.witness import Witness
from airlock.kolla.apt_sources import AptSource, parse_deb822
from airlock.kolla.render import RenderedImage
from airlock.lock.apt_index import apt_indexes
from airlock.lock.apt_resolver import AptCommand, AptFile, AptResolver, AptResult, AptStep
from airlock.lock.apt_verify import solve_from_index
from airlock.lock.keys import resolve_keys
from airlock.lock.model import Demand, make_lock
from airlock.lock.refresh import refresh
from airlock.lock.shortfall import Shortfall
from airlock.lock.vendors import require_vendors
from airlock.store.pool import Pool

KEYRING = "/etc/kolla/apt-keys/vendor.asc"
DEBIAN = AptSource("debian", "http://mirror.example.org/debian", "stable", ("main",))
SOURCES_FILE = "/etc/apt/sources.list.d/vendor.sources"
ENABLE = f"Uris: http://mirror.example.org/vendor\nComponents: main\nTypes: deb\nSuites: stable\nSigned-By: {KEYRING}\n"
FLAT = ENABLE.replace("Components: main", "Components: ").replace("Suites: stable", "Suites: ./")


class Place:
    """A distribution and a vendor, each with a key, on loopback."""

    def __init__(self, upstreams: Upstreams, folder: Path) -> None:
        self.upstreams, self.folder = upstreams, folder
        self.keys: Keys = upstreams.keys
        for name in ("debian", "vendor", "stranger"):
            self.keys.make(name)
        self.debian = Repository(upstreams.root / "debian", "stable")
        self.vendor = Repository(upstreams.root / "vendor", "stable")
        self.debian.add("core", Essential="yes", Priority="required")
        self.debian.add("apt", Priority="important")
        self.debian.add("server", "3.0")
        self.vendor.add("server", "4.0", Depends="library (>= 2)")
        self.vendor.add("library", "2:2.1+really~1", "amd64")
        self.vendor.add("library", "2:2.1+really~1", "arm64")
        self.debian.publish(self.keys, "debian")
        self.vendor.publish(self.keys, "vendor")
        (folder / "vendor.key").write_bytes(self.keys.public("vendor"))
        (folder / "debian.gpg").write_bytes(self.keys.public("debian", armored=False))

    def resolver(self, arch: str = "amd64", enable: str = ENABLE) -> AptResolver:
        made = AptResolver(
            root=self.folder / f"apt-{arch}",
            sources=[DEBIAN, *parse_deb822(enable, SOURCES_FILE)],
            addresses=lambda name: f"{self.upstreams.address}/{name}",
            keyrings=[self.folder / "debian.gpg"],
            keys={KEYRING: self.folder / "vendor.key"},
            debian_arch=arch,
        )
        made.update()
        return made


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with keys() as ring:
        upstreams = Upstreams(tmp_path / "upstreams", ring)
        made = Place(upstreams, tmp_path)
        with upstreams.served():
            yield made


def steps(*lines: str, enable: str = ENABLE) -> list[AptStep]:
    commands = [AptCommand(tuple(line.split()), number) for number, line in enumerate(lines, 2)]
    return [AptFile(SOURCES_FILE, enable.encode()), *commands]


def solve(apt: AptResolver, *lines: str, enable: str = ENABLE, before: tuple[AptStep, ...] = ()) -> AptResult:
    return apt.resolve("server", "x86_64", [*before, *steps(*lines, enable=enable)], apt.base().state)


def taken(result: AptResult) -> dict[str, str]:
    return {one.name: f"{one.upstream} {one.version}" for one in result.artifacts}


def test_a_vendors_package_is_taken_where_its_source_is_enabled_and_nowhere_else(place: Place) -> None:
    apt = place.resolver()
    assert taken(solve(apt, "apt-get -y install server")) == {
        "server": "vendor 4.0",
        "library": "vendor 2:2.1+really~1",
    }
    other = apt.resolve("other", "x86_64", [AptCommand(("apt-get", "install", "-y", "server"), 1)], apt.base().state)
    assert taken(other) == {"server": "debian 3.0"}


@pytest.mark.parametrize("detached", [False, True])
def test_a_flat_repository_is_locked_and_solved_again_from_its_own_index(place: Place, detached: bool) -> None:
    flat = Repository(place.upstreams.root / "vendor-flat", "./", "")
    flat.add("proxy", "2.6.6", "amd64")
    flat.publish(place.keys, "vendor", detached=detached)
    (place.upstreams.root / "vendor").rename(place.upstreams.root / "away")
    flat.root.rename(place.upstreams.root / "vendor")
    apt = place.resolver(enable=FLAT)
    result = solve(apt, "apt-get -y install proxy", enable=FLAT)
    assert taken(result) == {"proxy": "vendor 2.6.6"}
    base = apt.base()
    indexes = apt_indexes(
        [*base.artifacts, *result.artifacts], base.stanzas | result.stanzas, apt.sources, apt.releases, ["amd64"]
    )
    assert b"Filename: pool/" in indexes["apt/vendor/Packages"]
    again = solve_from_index(
        indexes, root=place.folder / "again", sources=apt.sources, debian_arch="amd64",
        artifacts=[*base.artifacts, *result.artifacts],
    )  # fmt: skip
    assert solve(again, "apt-get -y install proxy", enable=FLAT).plan == result.plan


def _unsigned(place: Place) -> None:
    place.vendor.publish(place.keys, "")


def _expired(place: Place) -> None:
    place.vendor.publish(place.keys, "vendor", valid_until="Sat, 01 Jan 2022 00:00:00 UTC")


def _stranger(place: Place) -> None:
    place.vendor.publish(place.keys, "stranger")


def _distribution(place: Place) -> None:
    place.vendor.publish(place.keys, "debian")


def _other_packages(place: Place) -> None:
    place.vendor.served["main/binary-amd64/Packages"] = b"Package: server\nVersion: 9\n"
    place.vendor.publish(place.keys, "vendor")


@pytest.mark.parametrize("harm", [_unsigned, _expired, _stranger, _distribution, _other_packages])
def test_a_release_that_its_vendor_does_not_vouch_for_is_refused(place: Place, harm: Callable[[Place], None]) -> None:
    harm(place)
    with pytest.raises(IntegrityError, match="the package indexes of vendor stable were refused") as caught:
        place.resolver()
    assert "debian stable" not in caught.value.message
    assert KEYRING in caught.value.remedy


def test_a_vendors_key_vouches_for_nothing_but_its_own_repository(place: Place) -> None:
    place.debian.publish(place.keys, "vendor")
    with pytest.raises(IntegrityError, match="the package indexes of debian stable were refused"):
        place.resolver()


def test_a_repository_whose_key_nothing_fetches_is_refused(place: Place) -> None:
    with pytest.raises(ResolutionError, match="vendor is signed by /etc/kolla/apt-keys/other.asc") as caught:
        place.resolver(enable=ENABLE.replace("vendor.asc", "other.asc"))
    assert "base_apt_keys_append" in caught.value.remedy


def test_a_repository_without_the_architecture_is_refused(place: Place) -> None:
    place.vendor.publish(place.keys, "vendor", arches=("amd64",))
    with pytest.raises(ResolutionError, match="vendor stable/main has no packages for arm64") as caught:
        place.resolver("arm64")
    assert "vendor_repositories" in caught.value.remedy


def test_a_package_of_one_architecture_is_missed_on_the_other_by_image_and_line(place: Place) -> None:
    place.vendor.add("driver", "1", "amd64")
    place.vendor.publish(place.keys, "vendor")
    assert taken(solve(place.resolver(), "apt-get install -y driver")) == {"driver": "vendor 1"}
    with pytest.raises(ResolutionError, match=r"image server \(x86_64\), line 2: .*driver") as caught:
        solve(place.resolver("arm64"), "apt-get install -y driver")
    assert "No package driver in debian stable, vendor stable" in caught.value.remedy


def test_another_architectures_list_serves_what_belongs_to_all(place: Place) -> None:
    """As RabbitMQ on aarch64, whose source says Architectures: amd64."""
    enable = f"{ENABLE}Architectures: amd64\n"
    place.vendor.add("noarch", "1")
    place.vendor.publish(place.keys, "vendor", arches=("amd64",))
    apt = place.resolver("arm64", enable=enable)
    result = solve(apt, "apt-get install -y noarch", enable=enable)
    assert taken(result) == {"noarch": "vendor 1"}
    indexes = apt_indexes(result.artifacts, result.stanzas, apt.sources, apt.releases, ["arm64"])
    assert b"Package: noarch" in indexes["apt/vendor/dists/stable/main/binary-amd64/Packages"]


def test_a_glob_means_what_apt_takes_it_for_and_one_without_a_match_is_refused(place: Place) -> None:
    place.vendor.add("grub-efi-amd64-signed", "1")
    place.vendor.publish(place.keys, "vendor")
    apt = place.resolver()
    assert taken(solve(apt, "apt-get install -y grub-efi-*64-signed")) == {"grub-efi-amd64-signed": "vendor 1"}
    with pytest.raises(ResolutionError, match=r"image server \(x86_64\), line 2: .*lilo-\*64"):
        solve(apt, "apt-get install -y lilo-*64")


def test_pins_that_contradict_a_dependency_are_told_in_apts_words(place: Place) -> None:
    place.vendor.add("library", "1:1", "amd64")
    place.vendor.publish(place.keys, "vendor")
    pin = AptFile("/etc/apt/preferences.d/kolla", b"Package: library\nPin: version 1:1\nPin-Priority: 1001\n")
    place.vendor.add("strict", "1", Depends="library (>= 2:2)")
    place.vendor.publish(place.keys, "vendor")
    with pytest.raises(ResolutionError, match=r"(?s)line 2: .*unmet dependencies.*strict : Depends: library"):
        solve(place.resolver(), "apt-get install -y strict", before=(pin,))


@pytest.mark.parametrize(
    "filename", ["../../../etc/cron.d/evil.deb", "/etc/evil.deb", "pool/../../evil.deb", "a\\b.deb"]
)
def test_a_place_outside_of_the_repository_is_refused(place: Place, filename: str) -> None:
    text = "Package: evil\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nSize: 9\n"
    place.vendor.add_stanza(f"{text}Filename: {filename}\nSHA256: {'ab' * 32}\nDescription: x\n", ("amd64",))
    place.vendor.publish(place.keys, "vendor")
    with pytest.raises(IntegrityError, match="vendor stable/main lists evil 1 at an unsafe path") as caught:
        solve(place.resolver(), "apt-get install -y evil")
    assert "Do not trust" in caught.value.remedy


def _image(*repositories: str) -> RenderedImage:
    return RenderedImage("server", "base", "kolla/server:airlock", Path(), b"", (), repositories)


def _required(apt: AptResolver, line: str, kept: tuple[str, ...] = ("vendor",)) -> None:
    wanted = steps(line)
    result = apt.resolve("server", "x86_64", wanted, apt.base().state)
    require_vendors(_image("vendor"), "x86_64", kept, wanted, result, apt.offering)


def test_a_named_package_of_the_distribution_in_a_vendors_place_is_refused(place: Place) -> None:
    place.debian.add("server", "9.0")
    place.debian.publish(place.keys, "debian")
    with pytest.raises(ResolutionError, match="vendor, which has server; but 9.0 of debian would") as caught:
        _required(place.resolver(), "apt-get install -y server")
    assert "distribution_packages" in caught.value.remedy


def test_an_image_that_takes_nothing_from_its_vendor_is_refused(place: Place) -> None:
    place.debian.add("elsewhere", "1")
    place.debian.publish(place.keys, "debian")
    apt = place.resolver()
    with pytest.raises(ResolutionError, match="none of elsewhere comes from there"):
        _required(apt, "apt-get install -y elsewhere")
    _required(apt, "apt-get install -y elsewhere server")
    _required(apt, "apt-get install -y elsewhere", kept=())


def test_a_package_that_is_not_what_the_signed_list_says_is_refused_by_refresh(place: Place) -> None:
    result = solve(place.resolver(), "apt-get install -y server")
    lock = make_lock(
        release="t", definition="", kolla={}, witness="", requires={}, images=[], demands=[],
        artifacts=result.artifacts,
    )  # fmt: skip
    (file,) = (place.upstreams.root / "vendor/pool").glob("server_*")
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    known = {name: UpstreamTable(address=f"{place.upstreams.address}/{name}") for name in ("debian", "vendor")}
    settings = FactoryFile(upstreams={**known, "pypi": known["debian"]}, fetch=FetchTable(retries=0, timeout=5))
    factory = Factory(place.folder / "factory", settings)
    with pytest.raises(IntegrityError, match=r"server_4\.0_all\.deb"):
        asyncio.run(refresh(lock, factory, {}, SilentReporter()))
    assert not Pool(factory.pool).has(next(one.sha256 for one in result.artifacts if one.name == "server"))


def _keys(place: Place, spec: str) -> tuple[str, ...]:
    """Resolve one demand; the ids of the answer."""

    async def run() -> tuple[str, ...]:
        pool = Pool(place.folder / "pool")
        address = {"keys-example-org-80": place.upstreams.address, "mirror-example-org": place.upstreams.address}
        demand = Demand("x86_64", "base", 7, "key", spec)
        async with Witness.record(pool, address, FetchTable(retries=0, timeout=5)) as witness:
            found = await resolve_keys([demand], witness, pool, tuple(address), Shortfall("x86_64"))
            return found.demands[0].artifacts

    return asyncio.run(run())


SERVER = "hkp://keys.example.org:80"


@pytest.mark.parametrize("digits", [40, 16])
def test_a_key_is_locked_by_what_its_id_promises(place: Place, digits: int) -> None:
    ident = place.keys.fingerprint("vendor")[-digits:]
    place.upstreams.received[ident[-16:]] = place.keys.public("vendor")
    (key,) = _keys(place, f"{SERVER} {ident}")
    assert key.startswith(f"key/{ident}.asc#")
    assert place.upstreams.asked[-1] == f"/pks/lookup?op=get&options=mr&search=0x{ident}"
    with pytest.raises(GoneError, match=r"image base \(x86_64\), line 7: the upstream .* has no key AAAA") as caught:
        _keys(place, f"{SERVER} {'A' * digits}")
    assert "[upstreams.keys-example-org-80]" in caught.value.remedy


def test_another_key_than_the_one_that_is_named_is_refused(place: Place) -> None:
    wanted, other = place.keys.fingerprint("vendor"), place.keys.fingerprint("stranger")
    place.upstreams.received[wanted[-16:]] = place.keys.public("stranger")
    with pytest.raises(IntegrityError, match=rf"line 7: .*{wanted} has the fingerprint {other}") as caught:
        _keys(place, f"{SERVER} {wanted}")
    assert "Nothing was locked" in caught.value.remedy


def test_a_second_key_beside_the_one_that_is_named_is_refused(place: Place) -> None:
    wanted = place.keys.fingerprint("vendor")
    both = place.keys.gpg("--armor", "--export", "vendor@example.org", "stranger@example.org")
    place.upstreams.received[wanted[-16:]] = both
    with pytest.raises(IntegrityError, match="has the fingerprint .*, "):
        _keys(place, f"{SERVER} {wanted}")


def test_a_page_in_place_of_a_key_is_refused(place: Place) -> None:
    (place.upstreams.root / "vendor.key").write_text("<html>not here</html>")
    with pytest.raises(IntegrityError, match=r"mirror-example-org gives as the key .* is no OpenPGP key"):
        _keys(place, "http://mirror.example.org/vendor.key")
    (place.upstreams.root / "vendor.key").write_bytes(place.keys.public("vendor"))
    assert len(_keys(place, "http://mirror.example.org/vendor.key")) == 1
