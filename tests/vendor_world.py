"""A factory whose vendors are stand-ins on loopback: the repositories that Kolla enables, their keys, the files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from tests.apt_upstream import ARCHES, Keys, Repository, Upstreams, keys

from airlock.definition.load import load_definition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.gather import Gathered, gather
from airlock.lock.keys import key_locations
from airlock.lock.sources_names import split_address

# Vendor → lines of architecture, package, version and what it depends on. Versions as the vendors have them, or later
# than Debian's.
PACKAGES: dict[str, str] = {
    "erlang-26": "native erlang-base 1:26.2.5.6-1\nall erlang-nox 1:26.2.5.6-1 erlang-base",
    "erlang-27": "native erlang-base 1:27.1.2-1\nall erlang-nox 1:27.1.2-1 erlang-base",
    "rabbitmq": "all rabbitmq-server 3.13.7-1 erlang-nox (>= 1:26.0)\n"
    "all rabbitmq-server 4.1.0-1 erlang-nox (>= 1:26.0)",
    "mariadb": "all mariadb-common 1:10.11.99+maria~deb12\n"
    "native mariadb-client 1:10.11.99+maria~deb12 mariadb-common\n"
    "native mariadb-server 1:10.11.99+maria~deb12 mariadb-client\n"
    "native mariadb-backup 1:10.11.99+maria~deb12",
    "influxdb": "native influxdb 1.8.10-1\nnative telegraf 1.33.0-1",
    "fluentd": "native fluent-package 5.0.5-1",
    "grafana": "native grafana 11.4.0",
    "opensearch": "native opensearch 2.18.0",
    "opensearch-dashboards": "native opensearch-dashboards 2.18.0",
    "proxysql": "native proxysql 2.6.6-debian12",
}
IMAGES = ["rabbitmq", "mariadb-server", "influxdb", "telegraf", "fluentd", "grafana", "opensearch",
          "opensearch-dashboards", "proxysql"]  # fmt: skip
SIGNERS = {"erlang-26": "erlang-ppa", "erlang-27": "erlang-ppa", "fluentd": "treasuredata",
           "opensearch-dashboards": "opensearch"}  # fmt: skip
"""Whose key it is, where it is not called like the repository."""

FILES: dict[str, dict[str, str]] = {
    "fluent-package": {
        "opt/fluent/lib/ruby/3.2.0/x86_64-linux/rbconfig.rb": "".join(
            f'CONFIG["{part}"] = "{number}"\n' for part, number in (("MAJOR", 3), ("MINOR", 2), ("TEENY", 6))
        ),
        "opt/fluent/lib/ruby/3.2.0/rubygems.rb": 'module Gem\n  VERSION = "3.4.19"\nend\n',
        "opt/fluent/lib/ruby/gems/3.2.0/specifications/fluentd-1.16.6.gemspec": "",
        "opt/fluent/lib/ruby/gems/3.2.0/specifications/default/json-2.6.3.gemspec": "",
    }
}
"""What packages hold that is read while locking: a Ruby of their own, and its gems."""

_NO_PLUGINS = """\
{% block fluentd_plugins_install %}{% endblock %}
{% block grafana_plugins_install %}{% endblock %}
"""


class World(msgspec.Struct):
    """The stand-ins, a factory that knows their addresses, and a definition."""

    upstreams: Upstreams
    repositories: dict[str, Repository]
    factory: Path
    definition: Path
    gathered: dict[str, Gathered]

    @property
    def keys(self) -> Keys:
        return self.upstreams.keys

    def publish(self, name: str, **how: object) -> None:
        """Sign a repository (anew)."""
        self.repositories[name].publish(self.keys, **({"signer": SIGNERS.get(name, name)} | how))  # type: ignore[arg-type]


def signer(name: str) -> str:
    return SIGNERS.get(name, name)


@contextmanager
def vendor_world(
    folder: Path,
    factory: Path,
    kolla: KollaEnvironment,
    *,
    images: list[str] = IMAGES,
    kept: list[str] | None = None,
    arches: tuple[str, ...] = ("x86_64", "aarch64"),
    constraints: str = "pbr===6.0.0\n",
    more: str = "",
    tables: str = "",
) -> Iterator[World]:
    """Stand-ins for the vendors of these images, published and served."""
    kept = sorted(PACKAGES) if kept is None else kept
    with keys() as ring:
        upstreams = Upstreams(folder / "upstreams", ring)
        definition = folder / "definition"
        definition.mkdir(parents=True)
        (definition / "upper-constraints.txt").write_text(constraints)
        (definition / "stand-ins.j2").write_text(_NO_PLUGINS + make_keys(ring))
        (definition / "release.toml").write_text(
            f'name = "vendors"\nopenstack = "2024.1"\nimages = {images}\nvendor_repositories = {kept}\n{more}\n'
            '[kolla]\nversion = "18.8.0"\ntemplate_overrides = ["stand-ins.j2"]\n'
            f'[base]\ndistribution = "debian"\nrelease = "bookworm"\narchitectures = {list(arches)}\n{tables}'
        )
        loaded = load_definition(definition)
        gathered = {arch: gather(kolla, loaded, arch, folder / "rendered") for arch in arches}
        world = World(upstreams, {}, factory, definition, gathered)
        with upstreams.served():
            places = serve_vendors(world)
            write_settings(factory, places)
            yield world


def make_keys(ring: Keys) -> str:
    """A key a vendor; the override that names those which Kolla names by an id, which nobody can make anew."""
    for name in {signer(one) for one in PACKAGES}:
        ring.make(name)
    # One by its fingerprint, one by the end of it, as Kolla has them.
    ids = {"erlang-ppa": ring.fingerprint("erlang-ppa"), "rabbitmq": ring.fingerprint("rabbitmq")[-16:]}
    named = [{"name": name, "keyid": ident} for name, ident in ids.items()]
    return f"{{% set base_apt_keys_override = {named} %}}\n"


def serve_vendors(world: World) -> dict[str, str]:
    """Publish what the images enable, with keys and the files that they fetch; upstream → address."""
    upstreams, places = world.upstreams, dict[str, str]()
    asked, *_ = world.gathered.values()
    for source in asked.vendors:
        name = source.upstream
        suite = "./" if source.suite == "/" else source.suite
        made = Repository(upstreams.root / name, suite, source.components[0] if source.components else "")
        for line in PACKAGES[name].splitlines():
            arch, package, version, *depends = line.split(" ", 3)
            for one in ("all",) if arch == "all" else ARCHES:
                fields = {"Depends": depends[0]} if depends else {}
                made.add(package, version, one, files=FILES.get(package), **fields)
        world.repositories[name] = made
        world.publish(name)
        places[name] = f"{upstreams.address}/{name}"
    for demand in asked.demands:
        if demand.kind == "key":
            places |= _serve_key(world, demand.spec, demand.line)
        elif demand.kind == "file":
            upstream, _, path = split_address(demand.spec, "")
            file = upstreams.root / upstream / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("#!/bin/sh\nexit 0\n")
            places[upstream] = f"{upstreams.address}/{upstream}"
    return places


def write_settings(factory: Path, places: Mapping[str, str]) -> None:
    """A factory.toml that has each upstream there, as a stand-in."""
    factory.mkdir(parents=True, exist_ok=True)
    tables = [f'[upstreams."{name}"]\naddress = "{place}"\nstand_in = true\n' for name, place in sorted(places.items())]
    (factory / "factory.toml").write_text("".join(tables) + "[fetch]\nretries = 1\n")


def _serve_key(world: World, spec: str, line: int) -> dict[str, str]:
    """Put the vendor's key where Kolla fetches it; upstream → address."""
    places = {}
    for ident, location in key_locations(spec):
        upstream, _, path = split_address(location, "")
        places[upstream] = f"{world.upstreams.address}/{upstream}"
        if ident:
            for name in set(map(signer, PACKAGES)):
                if world.keys.fingerprint(name).endswith(ident):
                    world.upstreams.received[ident[-16:]] = world.keys.public(name)
            continue
        (reading,) = (one.readings["base"] for one in list(world.gathered.values())[:1])
        stored = next(
            c.detail.path for c in reading.commands if c.line == line and getattr(c.detail, "url", "") == spec
        )
        file = world.upstreams.root / upstream / path
        file.parent.mkdir(parents=True, exist_ok=True)
        name = Path(stored).stem
        file.write_bytes(world.keys.public(name, armored=not stored.endswith(".gpg")))
    return places


def copy_of(world: World, folder: Path) -> Path:
    """The definition's files in another folder, to be changed there."""
    shutil.copytree(world.definition, folder)
    return folder
