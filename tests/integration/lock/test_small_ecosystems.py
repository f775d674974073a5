"""Every small ecosystem in two of real Kolla's images: locked by the command, fetched, proved, locked again offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.galaxy_upstream import KOLLAS, GalaxyStandIn, kollas
from tests.gem_upstream import GemStandIn
from tests.git_upstream import git, make_repository, served
from tests.integration.faults.airlock_runs import ROOT, airlock, done

from airlock.lock.files import load_lock

DEFINITION = """
name = "small"
openstack = "2024.1"
images = ["kolla-toolbox", "memcached"]
distribution_packages = ["kolla-toolbox"]
[kolla]
version = "18.8.0"
template_overrides = ["memcached.j2"]
[base]
distribution = "debian"
release = "bookworm"
architectures = ["x86_64"]
[python]
build_pins = ["setuptools<81"]
"""
OVERRIDE = """{{% block memcached_footer %}}
RUN apt-get update && apt-get -y install --no-install-recommends git ruby \\
    && apt-get clean && rm -rf /var/lib/apt/lists/*
RUN gem install --no-document alpha \\
    && git clone {web}/tool.git /opt/tool
{{% endblock %}}
"""


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Addresses of a Galaxy, an index of gems, and a web server that has constraints and a repository."""
    galaxy, gems, web = GalaxyStandIn(), GemStandIn(tmp_path / "gems"), tmp_path / "web"
    kollas(galaxy)
    gems.add("alpha", "1.0.0", beta=">= 1", json=">= 2.1")
    gems.add("alpha", "2.0.0", ruby=">= 9")
    gems.add("beta", "1.2.0")
    gems.build()
    repository = make_repository(tmp_path / "tool", {"file": "one\n"}, "main")
    git(repository, "update-server-info")
    (web / "constraints/upper").mkdir(parents=True)
    (web / "constraints/upper/2024.1").write_bytes((ROOT / "examples/all-debian/upper-constraints.txt").read_bytes())
    (web / "tool.git").symlink_to(repository / ".git")
    with galaxy.serving() as first, gems.serving() as second, served(web) as third:
        yield {"galaxy": first, "rubygems": second, "web": third}


@pytest.mark.full
def test_each_is_locked_fetched_proved_and_locked_again_offline(tmp_path: Path, stand_ins: dict[str, str]) -> None:
    definition, factory = tmp_path / "definition", tmp_path / "factory"
    definition.mkdir()
    factory.mkdir()
    (definition / "release.toml").write_text(DEFINITION)
    (definition / "memcached.j2").write_text(OVERRIDE.format(web=stand_ins["web"]))
    constraints = ROOT / "examples/all-debian/upper-constraints.txt"
    (definition / "upper-constraints.txt").write_bytes(constraints.read_bytes())
    addresses = {name: stand_ins[name] for name in ("galaxy", "rubygems")}
    addresses["releases-openstack-org"] = stand_ins["web"]  # where Kolla's Dockerfile has the constraints
    (factory / "factory.toml").write_text(
        "".join(f'[upstreams.{name}]\naddress = "{address}"\nstand_in = true\n' for name, address in addresses.items())
    )
    answer = json.loads(done(airlock("lock", "--json", "--factory", factory, definition, timeout=900)).stdout)
    assert answer["images"] == 3
    lock = load_lock(definition / "airlock.lock")
    held = {kind: sorted(one.file for one in lock.artifacts if one.kind == kind) for kind in ("galaxy", "gem")}
    assert held["gem"] == ["alpha-1.0.0.gem", "beta-1.2.0.gem"]
    assert len(held["galaxy"]) == len(KOLLAS) + 1
    assert {"community-general-3.9.0.tar.gz", "ansible-utils-2.0.0.tar.gz"} <= set(held["galaxy"])
    assert {one.stand_in for one in lock.artifacts if one.kind in ("galaxy", "gem")} == {True}
    done(airlock("refresh", "--factory", factory, definition, timeout=900))
    proof = json.loads(done(airlock("validate", "--json", "--factory", factory, definition, timeout=900)).stdout)
    assert proof["gaps"] == []
    assert "the same bytes" in done(airlock("lock", "--check", "--factory", factory, definition, timeout=900)).stdout
