"""One real Nexus for all tests here; each test has a write-once repository of its own, and the least user for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import uuid4

import pytest
from boxes.logins import Login
from boxes.network import HOST
from boxes.nexus import Nexus
from boxes.rest import Answer, Rest
from tests.bundle_samples import make_site

from airlock.core.nexus_settings import NexusPlace
from airlock.core.settings import Site
from airlock.store.nexus import NexusStore


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nexus]:
    with Nexus(tmp_path_factory.mktemp("nexus"), port=HOST.free_port()) as started:
        yield started


@pytest.fixture
def nexus(server: Nexus) -> Nexus:
    """The server, up."""
    return server if server.running else server.start()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that kill no server: nothing has to outlive it."""
    monkeypatch.setattr("airlock.store.nexus.SETTLE", 0.0)


def kill(nexus: Nexus) -> None:
    """`kill -9`; ``nexus.start()`` brings it up again with its data."""
    process = nexus.process
    assert process is not None
    process.send(SIGKILL)
    while process.alive or nexus.network.port_taken(nexus.ports[0]):  # its other threads take a moment longer
        time.sleep(0.01)


def requests(nexus: Nexus) -> list[str]:
    """The server's own log of requests, once all of it is written."""
    mark = f"/mark-{time.monotonic_ns()}"
    Rest(nexus.name, nexus.network, nexus.address).ask("GET", mark)
    log, deadline = nexus.data / "log" / "request.log", time.monotonic() + 30
    while time.monotonic() < deadline:
        if mark in log.read_text():
            time.sleep(0.3)  # what its other threads answered just before
            return [line for line in log.read_text().splitlines() if "/mark-" not in line]
        time.sleep(0.05)
    raise TimeoutError("the log of requests is not written")


@dataclass
class Repository:
    """A repository, its importer, and how they are written into settings."""

    nexus: Nexus
    name: str
    login: Login
    folder: Path

    @property
    def place(self) -> NexusPlace:
        return NexusPlace(self.nexus.address, self.name, self.login.user, self.login.password_file, Path("site.toml"))

    @property
    def table(self) -> str:
        return (
            f'[artifacts]\nnexus = "{self.nexus.address}"\nrepository = "{self.name}"\nuser = "{self.login.user}"\n'
            f'password_file = "{self.login.password_file}"\n'
        )

    def site(self, name: str = "site") -> Site:
        return make_site(self.folder / name, self.table)

    def store(self) -> NexusStore:
        return NexusStore(self.place)

    def allow(self, *actions: str, more: tuple[str, ...] = ()) -> None:
        """Give the importer these privileges and no others."""
        self.nexus.make_user(self.login.user, self.name, actions)
        if more:
            path = f"/security/roles/{self.login.user}"
            role = self.nexus.rest().call("GET", path).json()
            self.nexus.rest().call("PUT", path, role | {"privileges": [*role["privileges"], *more]})

    def change(self, *, online: bool = True, **storage: Any) -> None:
        """Change the repository's settings (``writePolicy``, ``blobStoreName`` …)."""
        path = f"/repositories/raw/hosted/{self.name}"
        now = self.nexus.rest().call("GET", path).json()
        self.nexus.rest().call("PUT", path, now | {"online": online, "storage": now["storage"] | storage})

    def ask(self, method: str, path: str, data: bytes | None = None) -> Answer:
        """As the administrator, past Airlock; ``path`` is quoted already."""
        admin = self.nexus.admin
        address = f"{self.nexus.address}/repository/{self.name}/"
        return Rest(self.name, self.nexus.network, address, admin.user, admin.password).ask(method, path, data)

    def put(self, path: str, data: bytes) -> None:
        assert self.ask("PUT", path, data).ok

    def get(self, path: str) -> bytes:
        answer = self.ask("GET", path)
        assert answer.ok
        return answer.data

    def delete(self, path: str) -> None:
        assert self.ask("DELETE", path).ok


@pytest.fixture
def make_repository(nexus: Nexus, tmp_path: Path) -> Callable[[], Repository]:
    def make() -> Repository:
        name = f"r{uuid4().hex[:10]}"
        login = nexus.make_repository(name).importer
        return Repository(nexus, name, login, tmp_path)

    return make


@pytest.fixture
def repository(make_repository: Callable[[], Repository]) -> Repository:
    return make_repository()
