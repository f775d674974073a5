"""The repository that base enables by extrepo, against signed stand-ins: taken, solved again, refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.apt_upstream import Repository, Upstreams, keys
from tests.extrepo_upstream import NAME, SIGNER, ExtrepoData, extrepo_package, repositories

from airlock.core.errors import (
    AirlockError,
    FormatError,
    GoneError,
    IntegrityError,
    ResolutionError,
    UnclassifiedError,
    UpstreamError,
)
from airlock.core.progress import SilentReporter
from airlock.core.settings import FetchTable
from airlock.definition.model import BaseTable, Definition, KollaTable
from airlock.fetch.witness import Witness
from airlock.kolla.reading import ImageReading, ImageState, load_rules, read_image
from airlock.kolla.render import RenderedImage, RenderedTree
from airlock.lock.apt_images import resolve_apt
from airlock.lock.apt_resolver import AptResolver, AptResult
from airlock.lock.demands import image_demands
from airlock.lock.extrepo import ExtrepoResult, resolve_extrepo
from airlock.lock.gather import Gathered
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

KEYRING = f"/var/lib/extrepo/keys/{NAME}.asc"
SOURCES = "deb http://mirror.example.org/debian bookworm main\n"
ENABLE = f"""\
RUN apt update \\
 && apt install -y --no-install-recommends extrepo \\
 && extrepo enable {NAME} \\
 && apt purge -y extrepo \\
 && apt --purge autoremove -y \\
 && apt clean
"""
BASE = f"FROM base\nCOPY sources.list /etc/apt/sources.list\n{ENABLE}RUN apt-get update && apt-get -y install switch\n"
CHILD = "FROM kolla/base:airlock\nRUN apt-get -y install server\n"


class Place:
    """Debian with extrepo, extrepo's data, and the repository that they lead to; one image upon base."""

    def __init__(self, upstreams: Upstreams, folder: Path) -> None:
        self.upstreams, self.folder, self.keys = upstreams, folder, upstreams.keys
        for name in ("debian", SIGNER, NAME, "stranger"):
            self.keys.make(name)
        self.data = ExtrepoData(upstreams)
        self.debian = Repository(upstreams.root / "debian", "bookworm")
        self.suites = repositories(upstreams.root / "osbpo")
        self.dockerfiles = {"base": BASE, "server": CHILD}
        self.entry: dict[str, Any] = {}
        self.settled: dict[str, str] = {}

    def publish(self) -> None:
        self.debian.add("core", Essential="yes", Priority="required")
        self.debian.add("apt", Priority="important")
        self.debian.add("switch", "3.1")
        self.debian.add("server", "3.0")
        package = extrepo_package(self.debian.root, self.data.url, self.keys.public(SIGNER, armored=False))
        (self.debian.root / "pool/e").mkdir()
        package = package.rename(self.debian.root / "pool/e" / package.name)
        self.debian.add_package(package, f"pool/e/{package.name}")
        self.debian.publish(self.keys, "debian")
        (self.folder / "debian.gpg").write_bytes(self.keys.public("debian", armored=False))
        self.suites[0].add("switch", "3.3.0-1~bpo12+1", "amd64", Depends="library")
        self.suites[0].add("library", "1")
        self.suites[1].add("server", "5.0")
        for suite in self.suites:
            suite.publish(self.keys, NAME)
        self.data.add(NAME, self.keys.public(NAME), f"{self.upstreams.address}/osbpo", **self.entry)
        self.data.publish()

    def gathered(self) -> Gathered:
        context = {"sources.list": SOURCES.encode()}
        readings: dict[str, ImageReading] = {}
        demands, images = [], []
        for name, text in self.dockerfiles.items():
            parent = "" if name == "base" else "base"
            readings[name] = read_image(
                text, image=name, context_files=context.get, rules=load_rules(),
                inherited=readings[parent].state if parent else ImageState(),
            )  # fmt: skip
            folder = self.folder / "context" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "sources.list").write_text(SOURCES)
            images.append(RenderedImage(name, parent, f"kolla/{name}:airlock", folder, text.encode(), ()))
            demands += image_demands(readings[name], "x86_64", parent, {}, [NAME])
        tree = RenderedTree(
            "upstream",
            "x86_64",
            self.folder,
            Path(),
            Path(),
            tuple(images),
            {"sources.list": SOURCES.encode()},
            {},
            "",
            "",
        )
        definition = Definition(
            name="t", openstack="2024.1", kolla=KollaTable(version="18.8.0"), vendor_repositories=[NAME],
            base=BaseTable("debian", "bookworm", ["x86_64"]),
        )  # fmt: skip
        return Gathered(tree, readings, tuple(demands), definition)

    def resolver(self, name: str, gathered: Gathered, witness: Witness, found: ExtrepoResult | None) -> AptResolver:
        made = AptResolver(
            root=self.folder / name, sources=gathered.apt_sources, addresses=witness.url,
            keyrings=[self.folder / "debian.gpg"], keys=found.keyrings if found else {}, debian_arch="amd64",
            trusted=not witness.live,
        )  # fmt: skip
        made.update()
        return made

    async def solve(
        self, witness: Witness, learned: dict[str, str], shortfall: Shortfall
    ) -> tuple[ExtrepoResult, dict[str, AptResult]]:
        pool, gathered = Pool(self.folder / "pool"), self.gathered()

        async def first() -> AptResolver:
            return await asyncio.to_thread(self.resolver, "first", gathered, witness, None)

        def learn(upstreams: Any) -> None:
            learned.update(upstreams)
            for name, address in upstreams.items():
                witness.add_upstream(name, self.settled.get(name, address))

        found = await resolve_extrepo(gathered, first, learn, witness, pool, shortfall)
        known = msgspec.structs.replace(gathered, by_extrepo=found.texts)
        resolver = await asyncio.to_thread(self.resolver, "second", known, witness, found)
        return found, await asyncio.to_thread(resolve_apt, known, resolver, pool, SilentReporter(), shortfall)

    def lock(self, shortfall: Shortfall | None = None) -> tuple[ExtrepoResult, dict[str, AptResult], dict[str, str]]:
        """Recorded; and solved again offline, with the same answers."""
        reasons = shortfall or Shortfall("x86_64")

        async def run() -> tuple[ExtrepoResult, dict[str, AptResult], dict[str, str]]:
            pool, learned = Pool(self.folder / "pool"), dict[str, str]()
            known = {"debian": f"{self.upstreams.address}/debian"}
            async with Witness.record(pool, known, FetchTable(retries=0, timeout=5)) as witness:
                found, plans = await self.solve(witness, learned, reasons)
                transcript = pool.add_bytes(witness.transcript())
            async with Witness.replay(pool, transcript) as witness:
                again, others = await self.solve(witness, {}, reasons)
            assert again == found
            assert {name: plan.plan for name, plan in others.items()} == {name: one.plan for name, one in plans.items()}
            return found, plans, learned

        return asyncio.run(run())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with keys() as ring:
        upstreams = Upstreams(tmp_path / "upstreams", ring)
        made = Place(upstreams, tmp_path)
        with upstreams.served():
            yield made


def taken(plan: AptResult) -> dict[str, str]:
    return {one.name: f"{one.upstream} {one.version}" for one in plan.artifacts}


def test_base_and_its_children_take_from_it_once_it_is_enabled(place: Place) -> None:
    place.publish()
    found, plans, learned = place.lock()
    base = taken(plans["base"])
    assert base["switch"] == f"{NAME} 3.3.0-1~bpo12+1"
    assert base["library"] == f"{NAME} 1"
    assert base["extrepo"] == "debian 0.11"
    assert taken(plans["server"]) == {"server": f"{NAME} 5.0"}
    assert "extrepo" not in plans["base"].state.versions, "extrepo is purged"
    assert learned == {"extrepo": place.data.url, NAME: f"{place.upstreams.address}/osbpo"}
    assert found.upstreams == learned


def test_key_and_source_are_locked_as_the_answer_to_extrepo(place: Place) -> None:
    place.publish()
    found, _, _ = place.lock()
    (demand,) = found.demands
    assert (demand.image, demand.line, demand.kind, demand.spec, demand.note) == (
        "base",
        5,
        "vendor-repository",
        NAME,
        "",
    )
    key, source = (next(one for one in found.artifacts if one.kind == kind) for kind in ("key", "file"))
    assert set(demand.artifacts) == {key.id, source.id}
    pool = Pool(place.folder / "pool")
    assert pool.read(key.sha256) == place.keys.public(NAME)
    assert (key.trust, key.upstream, key.path) == ("signed-index", "extrepo", f"debian/bookworm/{NAME}.asc")
    assert (source.trust, source.name, source.file) == ("made", NAME, f"extrepo_{NAME}.sources")
    assert pool.read(source.sha256).decode() == found.texts[NAME]
    assert found.keyrings == {KEYRING: pool.path(key.sha256)}


def test_a_mirror_of_data_and_repository_is_named_in_the_settings(place: Place) -> None:
    place.publish()
    (place.upstreams.root / "extrepo-data").rename(place.upstreams.root / "data-elsewhere")
    (place.upstreams.root / "osbpo").rename(place.upstreams.root / "osbpo-elsewhere")
    with pytest.raises(UpstreamError, match="upstream extrepo has no debian/bookworm/index.yaml"):
        place.lock()
    place.settled = {
        one: f"{place.upstreams.address}/{two}-elsewhere" for one, two in (("extrepo", "data"), (NAME, "osbpo"))
    }
    _, plans, _ = place.lock()
    assert taken(plans["server"]) == {"server": f"{NAME} 5.0"}


def _unsigned(place: Place) -> None:
    place.data.publish("")


def _stranger(place: Place) -> None:
    place.data.publish("stranger")


def _line(place: Place) -> None:
    index = place.data.folder / "index.yaml"
    index.write_bytes(index.read_bytes().replace(b"/osbpo", b"/other"))


def _lying_key(place: Place) -> None:
    (place.data.folder / f"{NAME}.asc").write_bytes(place.keys.public("stranger"))


def _no_key(place: Place) -> None:
    (place.data.folder / f"{NAME}.asc").unlink()


def _unknown(place: Place) -> None:
    place.data.index["openstack_bobcat"] = place.data.index.pop(NAME)
    place.data.publish()


def _policy(place: Place) -> None:
    place.data.index[NAME]["policy"] = "non-free"
    place.data.publish()


def _policies(place: Place) -> None:
    place.data.index[NAME]["policies"] = {"main": "contrib", "more": "non-free"}
    place.data.publish()


def _two_places(place: Place) -> None:
    place.data.index[NAME]["source"]["URIs"] += " http://mirror.example.org/osbpo"
    place.data.publish()


def _disabled(place: Place) -> None:
    place.data.index[NAME]["source"]["Enabled"] = "no"
    place.data.publish()


def _field(place: Place) -> None:
    place.data.index[NAME]["source"]["Allow-Insecure"] = "yes"
    place.data.publish()


def _other_signer(place: Place) -> None:
    place.suites[0].publish(place.keys, "stranger")


def _distributions_signer(place: Place) -> None:
    place.suites[1].publish(place.keys, "debian")


def _other_package(place: Place) -> None:
    (package,) = (place.debian.root / "pool/e").iterdir()
    package.write_bytes(package.read_bytes() + b"\n")


@pytest.mark.parametrize(
    ("harm", "kind", "said", "remedy"),
    [
        (
            _unsigned,
            GoneError,
            "line 5: the upstream extrepo has no debian/bookworm/index.yaml.asc",
            "upstreams.extrepo",
        ),
        (_stranger, IntegrityError, "line 5: .*index.yaml .* is not signed by a key of", "--update extrepo"),
        (_line, IntegrityError, "line 5: .*index.yaml .* is not signed by a key of .*BAD", "--update extrepo"),
        (_lying_key, IntegrityError, f"line 5: .*{NAME}.asc, the key of {NAME}, with sha256", "Do not trust"),
        (_no_key, GoneError, f"line 5: the upstream extrepo has no debian/bookworm/{NAME}.asc", "vendor_repositories"),
        (_unknown, ResolutionError, f"line 5: .*knows no repository {NAME}", "vendor_repositories"),
        (_policy, ResolutionError, "its policy is non-free, and /etc/extrepo/config.yaml enables main", "Kolla's own"),
        (_policies, ResolutionError, "its policy is contrib, non-free, and", "Kolla's own"),
        (_two_places, ResolutionError, "line 5: .*one at exactly one http or https address", "vendor_repositories"),
        (_disabled, ResolutionError, "line 5: .* is at no address", "vendor_repositories"),
        (_field, FormatError, f"extrepo_{NAME}.sources: the field 'allow-insecure' of a source is not known", ""),
        (_other_signer, IntegrityError, f"indexes of {NAME} .*were refused", KEYRING),
        (_distributions_signer, IntegrityError, f"indexes of {NAME} .*were refused", KEYRING),
        (_other_package, IntegrityError, "serves pool/e/extrepo_0.11_all.deb with sha256", "Do not trust this mirror"),
    ],
)
def test_what_extrepo_or_apt_would_refuse_is_refused_by_name(
    place: Place, harm: Callable[[Place], None], kind: type[AirlockError], said: str, remedy: str
) -> None:
    place.publish()
    harm(place)
    with pytest.raises(kind, match=said) as caught:
        place.lock()
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("dockerfiles", "said"),
    [
        (
            {"base": BASE.replace(ENABLE, ""), "server": CHILD + ENABLE},
            "line 5: .*in an image that is built on another",
        ),
        ({"base": BASE.replace("recommends extrepo", "recommends switch")}, "line 5: no command before .* installs"),
    ],
)
def test_where_extrepo_cannot_be_foreseen_image_and_line_are_named(
    place: Place, dockerfiles: dict[str, str], said: str
) -> None:
    place.dockerfiles = dockerfiles
    place.publish()
    with pytest.raises(UnclassifiedError, match=said) as caught:
        place.lock()
    assert "template override" in caught.value.remedy


def test_where_going_on_is_wanted_base_is_refused_and_all_that_is_built_on_it(place: Place) -> None:
    place.publish()
    _stranger(place)
    shortfall = Shortfall("x86_64", keep_going=True)
    place.lock(shortfall)
    assert {one.image: one.parent for one in shortfall.refused} == {"base": "", "server": "base"}
