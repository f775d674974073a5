"""Real Kolla's commands that ask a small ecosystem are demanded, and told where their index is in the room."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.demands import NAMED
from airlock.lock.gather import gather, render_sealed
from airlock.lock.model import Artifact, Kind
from airlock.lock.shortfall import Shortfall

Define = Callable[..., LoadedDefinition]
IMAGES: dict[str, tuple[Kind, str]] = {
    "fluentd": ("gem", "fluent-gem install --clear-sources --source {}/ fluent-plugin-grok-parser"),
    "grafana": ("grafana-plugin", "grafana-cli --repo {} plugins install gnocchixyz-gnocchi-datasource"),
    "kolla-toolbox": ("galaxy", "ansible-galaxy collection install --server {}/api/ --timeout"),
}


def artifact(kind: Kind, sha256: str) -> Artifact:
    return msgspec.convert(
        {
            "type": "artifact",
            "id": f"{kind}/one",
            "kind": kind,
            "name": "one",
            "version": "1",
            "arch": "any",
            "file": "one",
        }
        | {"sha256": sha256, "size": 1, "upstream": kind, "path": "one", "trust": "first-seen"},
        Artifact,
    )


def test_each_is_demanded_and_led_to_the_index_of_what_is_locked_for_it(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    loaded = define(images=str(sorted(IMAGES)).replace("'", '"'), top=f"distribution_packages = {sorted(IMAGES)}")
    shortfall = Shortfall("x86_64", keep_going=True)
    gathered = gather(kolla, loaded, "x86_64", tmp_path / "w", shortfall)
    assert shortfall.refused == []
    asked = [demand for demand in gathered.demands if demand.kind in NAMED]
    assert {(demand.image, demand.kind) for demand in asked} == {(image, kind) for image, (kind, _) in IMAGES.items()}
    digests = []
    for sha256 in ("a" * 64, "b" * 64):
        answered = [msgspec.structs.replace(demand, artifacts=(f"{demand.kind}/one",)) for demand in asked]
        held = {f"{kind}/one": artifact(kind, sha256) for kind, _ in IMAGES.values()}
        tree = render_sealed(kolla, loaded, "x86_64", tmp_path / "s", answered, held).by_name
        for image, (kind, words) in IMAGES.items():
            before, after = gathered.tree.by_name[image].dockerfile.decode(), tree[image].dockerfile.decode()
            assert after.count("\n") == before.count("\n"), "lines stay where they are"
            (address,) = set(re.findall(rf"http://mirror.airlock.internal/{kind}/[0-9a-f]{{24}}", after))
            assert words.format(address) in after
        digests.append({image: tree[image].sealed_digest for image in IMAGES})
    assert all(digests[0][image] != digests[1][image] for image in IMAGES), "other files, another image"
