"""One lab for all tests of this folder, and a factory of its own for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.window_lab import ZONE, Factory, Lab, open_lab

from airlock.firewall.selection import cgroup_root


@pytest.fixture(scope="session")
def one_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Made once: three namespaces and servers."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    if cgroup_root() is None:
        pytest.skip("there is no cgroup2 on this machine")
    root = tmp_path_factory.mktemp("lab")
    root.parent.parent.chmod(0o755)  # squid's user has to get to a factory
    with open_lab(root) as lab:
        yield lab


@pytest.fixture
def lab(one_lab: Lab) -> Lab:
    """The lab, answering for its names."""
    one_lab.zone(ZONE)
    return one_lab


@pytest.fixture
def factory(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Factory]]:
    """Makes factories, whose windows are closed and whose rules are removed at the end."""
    made: list[Factory] = []

    def make(window: str = "", upstreams: str = "") -> Factory:
        made.append(lab.factory(window, upstreams, f"factory-{tmp_path.name}-{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.window("close", "--reason", "the test is over")
        lab.run("nft", "delete", "table", "inet", one.table)
        for group in (one.cgroup, one.cgroup.with_name(f"{one.table}-keeper")):
            if group.exists():
                group.rmdir()
