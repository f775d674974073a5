"""A factory that locks every image of Kolla for Debian: what is out of reach here is a stand-in on loopback.

The definition is the example of all images, with what it leaves out taken back, but for what no lock can foresee.
Debian's archive and the package index are the real ones. All else speaks its own protocol on loopback; Kolla is told
what it cannot know of it: the ids of keys, and the sha256 of releases, which are declared as the stand-in has them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from tests.apt_upstream import Upstreams, keys
from tests.galaxy_upstream import GalaxyStandIn
from tests.galaxy_upstream import kollas as kollas_collections
from tests.gem_upstream import GemStandIn
from tests.gem_upstream import kollas as kollas_gems
from tests.grafana_upstream import PluginStandIn
from tests.grafana_upstream import kollas as kollas_plugins
from tests.vendor_world import PACKAGES, World, make_keys, serve_vendors, write_settings

from airlock.core.digest import sha256_bytes
from airlock.definition.load import load_definition
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.gather import gather
from airlock.lock.model import Lock
from airlock.lock.sources_names import make_archive, split_address
from airlock.lock.stand_ins import proven

EXAMPLE = Path(__file__).parents[1] / "examples/all-debian"
ARCH = "x86_64"
UNFORESEEN = ("bifrost-base",)
"""What stays left out, with the example's own reason."""


@contextmanager
def all_world(folder: Path, factory: Path, kolla: KollaEnvironment) -> Iterator[World]:
    """All stand-ins, published and served."""
    with keys() as ring, ExitStack() as servers:
        definition = folder / "definition"
        definition.mkdir(parents=True)
        (definition / "stand-ins.j2").write_text(make_keys(ring))
        (definition / "upper-constraints.txt").write_bytes((EXAMPLE / "upper-constraints.txt").read_bytes())
        text = _definition()
        (definition / "release.toml").write_text(text)
        gathered = {ARCH: gather(kolla, load_definition(definition), ARCH, folder / "rendered")}
        world = World(Upstreams(folder / "upstreams", ring), {}, factory, definition, gathered)
        servers.enter_context(world.upstreams.served())
        places = serve_vendors(world) | _serve_ecosystems(folder, servers)
        _serve_constraints(world)
        declared = _serve_releases(world, places)
        tables = [f'[kolla.conf.{section}]\nsha256 = "{sha256}"\n' for section, sha256 in declared.items()]
        (definition / "release.toml").write_text("\n".join([text, *tables]))
        write_settings(factory, places)
        yield world


def _definition() -> str:
    """The example with every vendor kept, and nothing left out but what cannot be foreseen."""
    text = (EXAMPLE / "release.toml").read_text()
    reasons = tomllib.loads(text)["leave_out"]
    kept, _, _ = text.partition("\n[leave_out]\n")
    for old, new in (
        ("vendor_repositories = []", f"vendor_repositories = {sorted(PACKAGES)}"),
        ("[kolla]\n", '[kolla]\ntemplate_overrides = ["stand-ins.j2"]\n'),
    ):
        assert kept.count(f"\n{old}") == 1
        kept = kept.replace(f"\n{old}", f"\n{new}")
    return "\n".join([kept, "[leave_out]", *(f'{image} = "{reasons[image]}"' for image in UNFORESEEN), ""])


def _serve_ecosystems(folder: Path, servers: ExitStack) -> dict[str, str]:
    """Indexes of collections, gems and plugins: upstream → address."""
    galaxy, gems, plugins = GalaxyStandIn(), GemStandIn(folder / "gems"), PluginStandIn()
    kollas_collections(galaxy)
    kollas_gems(gems)
    gems.build()
    kollas_plugins(plugins)
    served = {"galaxy": galaxy.serving(), "rubygems": gems.serving(), "grafana-plugins": plugins.serving()}
    return {name: servers.enter_context(one) for name, one in served.items()}


def _serve_constraints(world: World) -> None:
    """kolla-toolbox fetches its constraints: they are the definition's own."""
    (spec,) = (one.spec for one in world.gathered[ARCH].demands if (one.kind, one.image) == ("file", "kolla-toolbox"))
    upstream, _, path = split_address(spec, "")
    (world.upstreams.root / upstream / path).write_bytes((EXAMPLE / "upper-constraints.txt").read_bytes())


def _serve_releases(world: World, places: dict[str, str]) -> dict[str, str]:
    """Binaries of third parties, each behind a redirect to a storage; section → what Kolla is to declare."""
    upstreams, declared = world.upstreams, dict[str, str]()
    storage = upstreams.root / "storage"
    storage.mkdir()
    for image in world.gathered[ARCH].tree.images:
        for want in image.sources:
            if not want.sha256:
                continue
            upstream, _, path = split_address(want.location, "")
            places[upstream] = f"{upstreams.address}/{upstream}"
            name = PurePosixPath(urlsplit(want.location).path).name
            script = b"#!/bin/sh\nexit 0\n"
            data = make_archive(want.section, {want.section: script}) if name.endswith("gz") else script
            (storage / want.section).write_bytes(data)
            upstreams.moved[f"/{upstream}/{quote(path)}"] = (
                f"{upstreams.address}/storage/{want.section}?signature=a%2Fb"
            )
            declared[want.section] = f"{DEBIAN_ARCHITECTURES[ARCH]}:{sha256_bytes(data)}"
    return declared


def beyond_keys(lock: Lock) -> dict[str, tuple[str, ...]]:
    """Image → the stand-ins that it or an ancestor is answered from, besides those whose keys are in ``base``."""
    against = proven(lock).against[ARCH]
    keys = set(against["base"])
    found = {image: tuple(name for name in names if name not in keys) for image, names in against.items()}
    return {image: names for image, names in found.items() if names}
