"""Every binary of third parties that real Kolla takes, from a stand-in for release downloads, on both architectures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from tests.integration.lock.test_sources_fetched import ONCE, Stand, serving

from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.fetch.witness import Witness
from airlock.kolla.environment import KollaEnvironment, SourceWant
from airlock.kolla.render import RenderedTree, render
from airlock.lock.model import Artifact, make_lock
from airlock.lock.sources import SourceResolver
from airlock.store.pool import Pool

Define = Callable[..., LoadedDefinition]
IMAGES = '["^prometheus", "^etcd$", "^letsencrypt-lego$", "^magnum-conductor$"]'
BASE = 'distribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64", "aarch64"]'
X86_ALONE = {"prometheus-msteams", "prometheus-mtail"}


def binaries(tree: RenderedTree) -> dict[str, SourceWant]:
    return {want.section: want for image in tree.images for want in image.sources if want.sha256}


@pytest.fixture
def loaded(define: Define) -> LoadedDefinition:
    return define(images=IMAGES, base=BASE)


async def test_each_is_what_is_declared_for_its_architecture_behind_a_redirect(
    kolla: KollaEnvironment, loaded: LoadedDefinition, tmp_path: Path
) -> None:
    found: dict[str, dict[str, Artifact]] = {}
    left_out: dict[str, set[str]] = {}
    stand, storage, pool = Stand(), Stand(), Pool(tmp_path / "pool")
    async with serving(stand), serving(storage):
        for arch, debian in DEBIAN_ARCHITECTURES.items():
            tree = render(kolla, loaded, arch, "upstream", tmp_path / arch)
            left_out[arch] = set(tree.left_out)
            found[arch] = {}
            wants = binaries(tree)
            hosts = {urlsplit(want.location).netloc.replace(".", "-") for want in wants.values()}
            async with Witness.record(pool, dict.fromkeys(hosts, stand.address), ONCE) as witness:
                resolver = SourceResolver(loaded, arch, tree.upstreams["opendev"], witness, pool, hosts)
                for section, want in wants.items():
                    data = f"{section} for {arch}".encode()
                    place = unquote(urlsplit(want.location).path)
                    storage.files[f"/{section}/{debian}"] = data
                    stand.moved[place] = f"{storage.address}/{section}/{debian}?signature=abc%2Fdef"
                    with pytest.raises(IntegrityError, match=f"section {section}: the upstream"):
                        await resolver.resolve(want, f"image {section}")  # what Kolla itself declares
                    assert debian in want.sha256
                    declared = dict.fromkeys(want.sha256, "0" * 64) | {debian: sha256_bytes(data)}
                    held, _ = await resolver.resolve(msgspec.structs.replace(want, sha256=declared), f"image {section}")
                    assert (held.trust, held.sha256, held.arch) == ("declared", declared[debian], arch)
                    found[arch][section] = held
    assert len(found["x86_64"]) >= 16
    assert found["x86_64"].keys() - found["aarch64"].keys() == X86_ALONE == left_out["aarch64"] - left_out["x86_64"]
    both = [artifact for held in found.values() for artifact in held.values()]
    make_lock(release="r", definition="d", kolla={}, witness="w", requires={}, images=[], demands=[], artifacts=both)
    assert len({artifact.id for artifact in both}) == len(both), "no two architectures' files have one name"
