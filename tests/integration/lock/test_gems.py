"""Gems: what is resolved is what the real ``gem install`` installs, from the stand-in and then from the room."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.ecosystem_ground import gathered, resolve, room
from tests.gem_upstream import GemStandIn, kollas

from airlock.core.digest import sha256_file
from airlock.core.errors import AirlockError, IntegrityError, ResolutionError
from airlock.lock.ecosystem import Answers
from airlock.lock.gem_state import read_deb, ruby_state
from airlock.lock.gems import Gems
from airlock.lock.model import Artifact
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

CACHE = Path(__file__).resolve().parents[3] / ".cache/tests/ruby-debs"
INSTALL = "RUN gem install --no-document"


@pytest.fixture(scope="session")
def debs() -> list[Path]:
    """The .debs of the Ruby that this machine has."""
    told = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Depends}\n"], capture_output=True, text=True, check=True
    )
    wanted = {"ruby", "rake", "rubygems-integration"}
    names = {
        line.split()[0]: line.split()[1]
        for line in told.stdout.splitlines()
        if "ruby" in line.split()[0] or line.split()[0] in wanted
    }
    CACHE.mkdir(parents=True, exist_ok=True)
    for name, version in names.items():
        if not list(CACHE.glob(f"{name}_{version.replace(':', '%3a')}_*.deb")):
            subprocess.run(
                ["apt-get", "-q", "download", f"{name}={version}"], cwd=CACHE, check=True, capture_output=True
            )
    return [next(CACHE.glob(f"{name}_{version.replace(':', '%3a')}_*.deb")) for name, version in names.items()]


class World:
    """A stand-in for gems, one for Debian's pool, and an image that has Debian's Ruby."""

    def __init__(self, debs: list[Path], tmp_path: Path) -> None:
        self.gems = GemStandIn(tmp_path / "gems")
        self.pool = Pool(tmp_path / "pool")
        self._tmp_path, self._debs = tmp_path, debs
        artifacts = [self._artifact(deb) for deb in debs]
        state = SimpleNamespace(artifacts=tuple(one.id for one in artifacts))
        self.plans: dict[str, Any] = {"one": SimpleNamespace(artifacts=artifacts, stanzas={}, state=state)}

    def _artifact(self, deb: Path) -> Artifact:
        self.pool.add_file(deb)
        name = deb.name.split("_")[0]
        self.gems.changed[f"/debs/{name}.deb"] = deb.read_bytes()
        return Artifact(
            id=f"deb/{deb.name}", kind="deb", name=deb.name.split("_")[0], version="", arch="amd64", file=deb.name,
            sha256=sha256_file(deb)[0], size=deb.stat().st_size, upstream="debian", path=f"{name}.deb",
            trust="signed-index",
        )  # fmt: skip

    async def resolve(self, run: str, shortfall: Shortfall | None = None) -> tuple[Answers, str]:
        asked = gathered({"one": run}, self._tmp_path / "context")
        self.gems.build()
        with self.gems.serving() as address:
            upstreams = {"debian": f"{address}/debs"}
            return await resolve(
                Gems(), asked, address, self.pool, shortfall=shortfall, plans=self.plans, upstreams=upstreams
            ), address

    def install(self, address: str, names: list[str], home: Path) -> tuple[set[str], str]:
        """The gems that the real one installs, or what it says."""
        home.mkdir(parents=True)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "GEM_HOME": str(home / "gems"), "LC_ALL": "C.UTF-8"}
        environment["GEM_SPEC_CACHE"] = str(home / "specs")
        command = ["/usr/bin/gem", "install", "--clear-sources", "--source", f"{address}/", "--no-document", *names]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            return set(), done.stdout + done.stderr
        return {path.stem for path in (home / "gems/specifications").glob("*.gemspec")}, ""


@pytest.fixture
def world(debs: list[Path], tmp_path: Path) -> World:
    return World(debs, tmp_path)


def full_names(found: Answers) -> set[str]:
    return {artifact.file.removesuffix(".gem") for artifact in found.artifacts}


async def test_what_kolla_asks_for_is_what_gem_installs_and_again_from_the_room(world, tmp_path):
    names = kollas(world.gems)
    found, _ = await world.resolve(f"{INSTALL} {' '.join(names)}")
    with world.gems.serving() as address:
        real, why = world.install(address, names, tmp_path / "real")
    assert why == ""
    assert full_names(found) == real
    assert {"fluentd-1.17.1", "speed-1.3.0-x86_64-linux", "prometheus-client-4.2.2", "fluent-config-1.0.10"} <= real
    assert not any(one.startswith(("json", "base64")) for one in real), "Ruby's own are there already"
    files = world.gems.files()
    with room(Gems(), found, files) as (address, asked):
        assert world.install(address, names, tmp_path / "room") == (real, "")
    assert sum(path.startswith("/index/gems/") for path in asked) == len(found.artifacts)
    assert {artifact.arch for artifact in found.artifacts} == {"any", "x86_64"}


@pytest.mark.parametrize("seed", range(4))
async def test_any_universe_is_resolved_as_gem_resolves_it(world, tmp_path, seed):
    choose = random.Random(seed)
    names = [f"c{number}" for number in range(6)]
    for at, name in enumerate(names):
        for _ in range(choose.randint(2, 4)):
            below = choose.sample(names[at + 1 :], min(len(names[at + 1 :]), choose.randint(0, 2)))
            bounds = ["> 0", ">= 1.1", "< 3", "~> 1.2", "~> 2", ">= 1, < 3", "!= 2.0"]
            version = f"{choose.randint(1, 3)}.{choose.randint(0, 10)}" + choose.choice(["", ".0", ".pre"])
            if not any((one["name"], one["version"]) == (name, version) for one in world.gems.gems):
                world.gems.add(name, version, **{one: choose.choice(bounds) for one in below})
    asked = choose.sample(names[:4], 2)
    shortfall = Shortfall("x86_64", keep_going=True)
    found, _ = await world.resolve(f"{INSTALL} {' '.join(asked)}", shortfall)
    with world.gems.serving() as address:
        real, why = world.install(address, asked, tmp_path / "real")
    assert full_names(found) == real, why
    assert bool(shortfall.refused) is not bool(real)


def test_the_ruby_of_an_image_is_read_from_its_packages(debs):
    state = ruby_state([read_deb(deb, deb.name) for deb in debs], "gem", "image one")
    script = 'puts RUBY_VERSION, Gem::VERSION, Gem::Specification.map {|one| "#{one.name} #{one.version}" }'
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GEM_HOME": "/nonexistent"}
    told = subprocess.run(["/usr/bin/ruby", "-e", script], env=environment, capture_output=True, text=True, check=True)
    said = told.stdout.splitlines()
    assert [state.ruby, state.rubygems] == said[:2]
    assert {f"{gem.name} {gem.version}" for gem in state.installed} >= set(said[2:])
    with pytest.raises(ResolutionError, match=r"image one: no package that is installed has the Ruby of fluent-gem"):
        ruby_state([read_deb(deb, deb.name) for deb in debs], "fluent-gem", "image one")


async def refused(world: World, run: str, kind: type[AirlockError]) -> str:
    with pytest.raises(kind) as caught:
        await world.resolve(run)
    return str(caught.value)


async def test_a_gem_that_is_nowhere_is_named(world):
    assert "a >= 0, by image one (x86_64), line 2" in await refused(world, f"{INSTALL} a", ResolutionError)


async def test_two_that_exclude_each_other_are_both_named(world):
    world.gems.add("a", "1.0", b="> 0", c="< 2")
    world.gems.add("b", "1.0", c=">= 2")
    world.gems.add("c", "1.0")
    world.gems.add("c", "2.0")
    said = await refused(world, f"{INSTALL} a", ResolutionError)
    assert "c < 2, by a-1.0" in said
    assert "c >= 2, by b-1.0" in said


async def test_an_index_that_lies_about_a_hash_is_refused(world):
    world.gems.add("a", "1.0")
    world.gems.changed["/gems/a-1.0.gem"] = b"something else"
    assert "serves" in await refused(world, f"{INSTALL} a", IntegrityError)


@pytest.mark.parametrize(
    "line",
    [
        "1.0 |checksum:abc",
        "../1.0 |checksum:" + "0" * 64,
        "1.0-../x |checksum:" + "0" * 64,
        "1.0 ../../etc:>= 0|checksum:" + "0" * 64,
        "1.0 b:newest|checksum:" + "0" * 64,
        "<html>",
    ],
)
async def test_a_page_that_cannot_be_is_refused(world, line):
    world.gems.changed["/info/a"] = f"---\n{line}\n".encode()
    assert "gem a: its page is not understood" in await refused(world, f"{INSTALL} a", ResolutionError)


async def test_without_an_address_the_setting_is_named(world, tmp_path):
    asked = gathered({"one": f"{INSTALL} a"}, tmp_path / "context")
    with pytest.raises(ResolutionError, match="asks an index of Ruby gems") as caught:
        await resolve(Gems(), asked, "", world.pool, plans=world.plans)
    assert "[upstreams.rubygems]" in caught.value.remedy
