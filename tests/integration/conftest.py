"""What is longer than CI has time for, by folder (`make test-full` runs it); the real servers, started once a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from boxes.box import Box
from boxes.gerrit import Gerrit
from boxes.network import HOST
from boxes.nexus import Nexus
from boxes.registry import Registry
from boxes.together import stop_all

HERE = Path(__file__).parent
LONG = (HERE / "faults", HERE / "verbs")
SHORT = ("test_definition.py",)
B = TypeVar("B", bound=Box)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of faults at the command line, each of which is a run of Kolla or of a bundle."""
    for item in items:
        if item.path.name not in SHORT and any(folder in item.path.parents for folder in LONG):
            item.add_marker(pytest.mark.full)


MAKE: dict[str, Callable[[Path, Sequence[int]], Box]] = {
    "nexus": lambda folder, ports: Nexus(folder, port=ports[0]),
    "gerrit": lambda folder, ports: Gerrit(folder, port=ports[0], ssh_port=ports[1]),
    "registry": lambda folder, ports: Registry(folder, port=ports[0]),
}


@pytest.fixture(scope="session", autouse=True)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Box]]]:
    """Every server that a test of this run asks for, starting while other tests run."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ()) if name in MAKE}
    folder = tmp_path_factory.mktemp("servers")
    boxes = {name: MAKE[name](folder / name, [HOST.free_port(), HOST.free_port()]) for name in sorted(wanted)}
    given_up = threading.Event()
    with ThreadPoolExecutor(len(boxes) or 1) as pool:
        starts = {name: pool.submit(box.start, given_up) for name, box in boxes.items()}
        try:
            yield starts
        finally:
            given_up.set()
            pool.shutdown()
            stop_all(list(boxes.values()))


def started(servers: dict[str, Future[Box]], name: str, kind: type[B]) -> B:
    box = servers[name].result()
    assert isinstance(box, kind)
    return box


@pytest.fixture(scope="session")
def nexus(servers: dict[str, Future[Box]]) -> Nexus:
    """A real Nexus; make a repository of your own with ``nexus.make_repository(NAME)``."""
    return started(servers, "nexus", Nexus)


@pytest.fixture(scope="session")
def gerrit(servers: dict[str, Future[Box]]) -> Gerrit:
    """A real Gerrit; ``gerrit.access`` tells how it is reached. Make a project of your own."""
    return started(servers, "gerrit", Gerrit)


@pytest.fixture(scope="session")
def registry(servers: dict[str, Future[Box]]) -> Registry:
    """Debian's docker-registry, open to all; push below a name of your own."""
    return started(servers, "registry", Registry)
