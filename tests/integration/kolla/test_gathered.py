"""What real Kolla's images ask for that cannot be had is said of each, and nothing is taken in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from airlock.core.errors import ResolutionError
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.demands import INSTEAD
from airlock.lock.gather import gather
from airlock.lock.shortfall import Shortfall

Define = Callable[..., LoadedDefinition]


def test_every_image_that_cannot_be_had_is_told_with_its_reasons(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    loaded = define(images='["rabbitmq", "fluentd", "mariadb-server", "grafana", "memcached", "zun-cni-daemon"]')
    shortfall = Shortfall("x86_64", keep_going=True)
    gathered = gather(kolla, loaded, "x86_64", tmp_path / "w", shortfall)
    refused = {one.image: "\n".join(one.reasons) for one in shortfall.refused}
    assert set(refused) == {"rabbitmq", "fluentd", "mariadb-base", "mariadb-server", "grafana", "zun-cni-daemon"}
    assert "vendor repositories erlang-26, erlang-27, rabbitmq" in refused["rabbitmq"]
    assert "vendor repositories mariadb" in refused["mariadb-server"]
    assert "clustercheck" in refused["mariadb-base"]
    assert "vendor repositories mariadb" in refused["mariadb-base"]
    assert refused["grafana"].count("grafana-cli plugins install") == 2
    assert "fluent-gem install" in refused["fluentd"]
    assert "cni-plugins" in refused["zun-cni-daemon"]
    assert {demand.image for demand in gathered.demands} >= {"base", "memcached"}


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
