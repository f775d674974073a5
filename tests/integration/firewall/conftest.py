"""One lab for all tests of this folder, and a factory of its own for each."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.window_lab import ZONE, Factory, Lab, open_lab

from airlock.firewall.selection import cgroup_root

# What CI has time for; `make test-window` and `make test-full` run the rest as well.
SHORT = (
    "test_named_hosts_work_and_everything_else_is_refused_and_counted",
    "test_the_kernel_closes_by_itself_and_cuts_what_flows",
    "test_refresh_opens_fetches_closes_and_proves",
    "test_a_table_of_that_name_that_is_not_ours_is_left_alone",
    "test_names_are_enforced_and_the_log_is_kept",
    "test_the_sample_opens_and_closes_a_router",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is not in ``SHORT``."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.name not in SHORT:
            item.add_marker(pytest.mark.full)


@pytest.fixture(scope="session")
def one_lab() -> Iterator[Lab]:
    """Made once: three namespaces and servers."""
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    if cgroup_root() is None:
        pytest.skip("there is no cgroup2 on this machine")
    # Not below pytest's folder, which is its user's alone: squid's user has to get to a factory.
    with tempfile.TemporaryDirectory(prefix="airlock-lab-") as root, open_lab(Path(root) / "lab") as lab:
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
        for place in (lab.here, lab.box):
            lab.run("nft", "delete", "table", "inet", one.table, where=place)
        for group in (one.cgroup, one.cgroup.with_name(f"{one.table}-keeper")):
            if group.exists():
                group.rmdir()
