"""What real Kolla's images ask for that cannot be had is said of each, and nothing is taken in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from airlock.core.errors import ResolutionError
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.demands import INSTEAD
from airlock.lock.downloads import file_artifact
from airlock.lock.gather import gather, render_sealed
from airlock.lock.shortfall import Shortfall

Define = Callable[..., LoadedDefinition]


def test_every_image_that_cannot_be_had_is_told_with_its_reasons(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    loaded = define(images='["rabbitmq", "fluentd", "mariadb-server", "grafana", "memcached"]')
    shortfall = Shortfall("x86_64", keep_going=True)
    gathered = gather(kolla, loaded, "x86_64", tmp_path / "w", shortfall)
    refused = {one.image: "\n".join(one.reasons) for one in shortfall.refused}
    assert set(refused) == {"rabbitmq", "fluentd", "mariadb-base", "mariadb-server", "grafana"}
    assert "vendor repositories erlang-26, erlang-27, rabbitmq" in refused["rabbitmq"]
    assert "vendor repositories mariadb" in refused["mariadb-server"]
    assert "vendor repositories mariadb" in refused["mariadb-base"]
    assert "vendor repositories fluentd" in refused["fluentd"]
    assert "vendor repositories grafana" in refused["grafana"]
    assert {demand.image for demand in gathered.demands} >= {"base", "memcached"}


def test_a_file_that_a_run_fetches_is_a_demand_and_led_to_the_mirror(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    loaded = define(images='["mariadb-base", "zun-cni-daemon"]', top='distribution_packages = ["mariadb-base"]')
    gathered = gather(kolla, loaded, "x86_64", tmp_path / "w")
    asked = {demand.image: demand for demand in gathered.demands if demand.kind == "file"}
    assert set(asked) == {"mariadb-base", "zun-cni-daemon"}
    assert asked["mariadb-base"].spec.endswith("/mariadb/raw/10.9/f/clustercheck.sh")
    assert asked["zun-cni-daemon"].spec.endswith("/v0.7.1/cni-plugins-amd64-v0.7.1.tgz")
    digests = []
    for sha256 in ("a" * 64, "b" * 64):
        files = [file_artifact("github-com", demand.spec, sha256, 1) for demand in asked.values()]
        answered = [
            msgspec.structs.replace(demand, artifacts=(file.id,))
            for demand, file in zip(asked.values(), files, strict=True)
        ]
        tree = render_sealed(
            kolla, loaded, "x86_64", tmp_path / "s", answered, {file.id: file for file in files}
        ).by_name
        for image, demand in asked.items():
            text = tree[image].dockerfile.decode()
            assert demand.spec not in text
            place = f"http://mirror.airlock.internal/pool/{sha256[:2]}/{sha256}/{demand.spec.rpartition('/')[2]}"
            assert text.count(f"_url={place}\n") == 1
        digests.append({image: tree[image].sealed_digest for image in asked})
    assert all(digests[0][image] != digests[1][image] for image in asked), "the file that is locked is built with"


def test_an_image_whose_vendor_is_left_out_is_refused_unless_the_distributions_packages_are_meant(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    with pytest.raises(ResolutionError, match=r"image influxdb \(x86_64\) takes packages from .* influxdb") as caught:
        gather(kolla, define(images='["influxdb"]'), "x86_64", tmp_path / "w")
    assert "distribution_packages" in caught.value.remedy
    meant = define(images='["influxdb"]', top='distribution_packages = ["influxdb"]', folder="meant")
    demands = gather(kolla, meant, "x86_64", tmp_path / "w").demands
    (found,) = [demand for demand in demands if demand.image == "influxdb" and demand.kind == "vendor-repository"]
    assert (found.spec, found.line, found.note, found.artifacts) == ("influxdb", 0, INSTEAD, ())
