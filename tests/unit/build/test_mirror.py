"""The room's addresses of the small ecosystems' indexes: pages and files that belong to one image's locked set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airlock.build.mirror import BundleMirror
from airlock.build.wheel_cache import WheelCache
from airlock.bundle.names import check_path, check_unique
from airlock.core.digest import sha256_bytes
from airlock.lock.ecosystems import room_indexes
from airlock.lock.image_index import index_name, sealed_indexes
from airlock.lock.model import Artifact, Demand, Kind, Lock, make_lock
from airlock.store.artifacts import StoredFile


def artifact(kind: Kind, name: str, version: str, file: str) -> Artifact:
    made = {"id": f"{kind}/{file}", "kind": kind, "name": name, "version": version, "arch": "any", "file": file}
    made |= {"sha256": sha256_bytes(file.encode()), "size": 1, "upstream": kind, "path": file, "trust": "first-seen"}
    return msgspec.convert({"type": "artifact", **made}, Artifact)


BOUNDS = [[">=", "0"]]
GALAXY = artifact("galaxy", "a.b", "1.0.0", "a-b-1.0.0.tar.gz")
NEWER = artifact("galaxy", "a.b", "2.0.0", "a-b-2.0.0.tar.gz")
GEM = artifact("gem", "c", "1.0", "c-1.0.gem")
PLUGIN = artifact("grafana-plugin", "d", "1.0.0", "d-1.0.0.zip")
FACTS: dict[str, Any] = {
    GALAXY.id: {"dependencies": {}},
    GEM.id: {
        "gem": {"name": "c", "version": "1.0", "platform": "ruby", "dependencies": {"e": BOUNDS}, "sha256": GEM.sha256}
        | {"ruby": BOUNDS, "rubygems": BOUNDS},
        "installed": ["json"],
    },
    PLUGIN.id: {"arch": "linux-amd64"},
}


@pytest.fixture
def lock() -> Lock:
    asked = [("one", GALAXY), ("one", GEM), ("two", NEWER), ("two", PLUGIN)]
    demands = [Demand("x86_64", image, 2, found.kind, "x", (found.id,)) for image, found in asked]  # type: ignore[arg-type]
    return make_lock(
        release="r", definition="d", kolla={}, witness="w", requires={}, images=[], demands=demands,
        artifacts=[GALAXY, NEWER, GEM, PLUGIN],
    )  # fmt: skip


def mirror(lock: Lock, tmp_path: Path) -> tuple[BundleMirror, dict[str, bytes]]:
    pages, files = room_indexes(lock, FACTS)
    listed = {name: {"sha256": one.sha256, "size": one.size, "file": one.file} for name, one in files.items()}
    held = {**pages, "files.json": msgspec.json.encode(listed)}
    by_hash = {(one.sha256, one.file): one for one in lock.artifacts}
    bundle = SimpleNamespace(
        index=held.get,
        index_file=lambda name: StoredFile(name, len(held[name]), sha256_bytes(held[name])) if name in held else None,
        content=lambda sha256, file: StoredFile(file, by_hash[sha256, file].size, sha256),
        store=SimpleNamespace(local=lambda path: tmp_path / path),
    )
    return BundleMirror(bundle, WheelCache(tmp_path / "wheels")), held  # type: ignore[arg-type]


def test_each_image_is_offered_what_is_locked_for_it_and_nothing_else(lock, tmp_path):
    served, _ = mirror(lock, tmp_path)
    led = sealed_indexes(lock.demands, lock.by_id)
    assert led["one"]["galaxy"] == (f"http://mirror.airlock.internal/{index_name('galaxy', [GALAXY])}", 1)
    first, second = (f"/{index_name('galaxy', [one])}" for one in (GALAXY, NEWER))
    assert first != second
    found = served.open(f"{first}/api/v3/collections/a/b/versions/")
    assert found is not None
    assert b'"1.0.0"' in bytes(found.content)  # type: ignore[arg-type]
    assert b'"2.0.0"' not in bytes(found.content)  # type: ignore[arg-type]
    assert served.open(f"{first}/api/v3/collections/a/b/versions/2.0.0/") is None
    gems, plugins = f"/{index_name('gem', [GEM])}", f"/{index_name('grafana-plugin', [PLUGIN])}"
    for path, file in (
        (f"{first}/files/a-b-1.0.0.tar.gz", GALAXY),
        (f"{gems}/gems/c-1.0.gem", GEM),
        (f"{plugins}/d/versions/1.0.0/download", PLUGIN),
    ):
        content = served.open(path)
        assert content is not None
        assert content.sha256 == file.sha256
        assert served.origins[path] == "bundle"
    for path in (f"{gems}/", f"{gems}/info/c", f"{gems}/info/e", f"{gems}/info/json", f"{plugins}/d/versions"):
        assert served.open(path) is not None, path
        assert served.origins[path] == "index"
    assert served.open(f"{gems}/info/unknown") is None


def test_the_indexes_names_are_those_that_a_bundle_may_hold(lock, tmp_path):
    _, held = mirror(lock, tmp_path)
    assert len(held) > 10
    check_unique(check_path(f"indexes/{name}") for name in held)
    folders = {"/".join(name.split("/")[:count]) for name in held for count in range(1, name.count("/") + 1)}
    assert not folders & held.keys(), "a page is never where a folder has to be"
