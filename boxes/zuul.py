"""Zuul on one machine, on a Gerrit that is there: its services, ZooKeeper, PostgreSQL, a static node, a log server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

import msgspec

from airlock.core.errors import AirlockError, ToolError
from airlock.core.files import write_file
from airlock.core.process import last_lines
from airlock.core.secrets import read_secret
from boxes.box import Box, last_lines_of
from boxes.gerrit import GerritAccess
from boxes.log_server import LogServer
from boxes.network import HOST, LOOPBACK, Network
from boxes.postgresql import PostgreSQL
from boxes.rest import Rest
from boxes.sshd import Sshd
from boxes.together import start_all, stop_all
from boxes.zookeeper import ZooKeeper
from boxes.zuul_install import install
from boxes.zuul_services import Executor, Launcher, Scheduler, Service, Web
from boxes.zuul_settings import CONFIG_PROJECT, write_settings
from boxes.zuul_tokens import LIFETIME, make_token


class ZuulPorts(msgspec.Struct, frozen=True):
    """TCP ports of 127.0.0.1."""

    web: int
    logs: int
    node: int
    zookeeper: int
    database: int
    streams: int

    @classmethod
    def following(cls, first: int) -> ZuulPorts:
        """Six ports in a row."""
        return cls(*range(first, first + 6))


class Zuul:
    """One Zuul with one tenant. A context manager: started on entry, stopped on leaving.

    Args:
        folder: everything that it keeps.
        gerrit: where its projects are; it must be up.
        ports: where everything listens.
        projects: of Gerrit that Zuul looks after, besides the config project; their own Zuul configuration is not read.
        labels: of static nodes, which are all this machine, as the user that runs this.
        tenant: its name.
        network: where it lives; the node, too.
    """

    name: ClassVar[str] = "zuul"
    deadline: ClassVar[float] = 120.0  # seconds from the services' start until the tenant is there

    def __init__(
        self, folder: Path, gerrit: GerritAccess, *, ports: ZuulPorts, projects: Sequence[str], labels: Sequence[str],
        tenant: str = "airlock", network: Network = HOST,
    ) -> None:  # fmt: skip
        self.folder = folder.absolute()
        self.gerrit, self.projects, self.labels = gerrit, list(projects), list(labels)
        self.tenant, self.network, self.ports = tenant, network, ports
        self.address = f"http://{LOOPBACK}:{ports.web}"
        self.config = self.folder / "zuul.conf"
        self.zookeeper = ZooKeeper(self.folder / "zookeeper", port=ports.zookeeper, network=network)
        self.database = PostgreSQL(self.folder / "postgresql", port=ports.database, network=network)
        self.node = Sshd(self.folder / "node", port=ports.node, addresses=len(self.labels), network=network)
        self.logs = LogServer(self.folder / "logs", port=ports.logs, network=network)
        self.scheduler = Scheduler(self.folder / "scheduler", self.config, network=network)
        self.executor = Executor(self.folder / "executor", self.config, ports=[ports.streams], network=network)
        self.launcher = Launcher(self.folder / "launcher", self.config, network=network)
        self.web = Web(self.folder / "web", self.config, ports=[ports.web], network=network)

    @property
    def boxes(self) -> list[Box]:
        """All that it is made of, in the order of starting."""
        return [*self._below, *self._services]

    @property
    def _below(self) -> list[Box]:
        return [self.zookeeper, self.database, self.node, self.logs]

    @property
    def _services(self) -> list[Service]:
        return [self.scheduler, self.executor, self.launcher, self.web]

    def start(self) -> Zuul:
        """Start everything and wait until the tenant is there and its jobs could run.

        Raises:
            AirlockError: see :meth:`boxes.box.Box.start`; nothing of it is left running then.
        """
        install()
        if not self.running:  # what runs of it may have lost what it needs; ZooKeeper begins empty
            self.stop()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            start_all(self._below)
            write_settings(self)
            start_all(self._services)
            self._await()
            self.require_valid()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything; what is not running is left alone."""
        stop_all(self._services)
        stop_all(self._below)

    def __enter__(self) -> Zuul:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether all of it runs."""
        return all(box.running for box in self.boxes)

    def token(self, user: str, lifetime: float = LIFETIME) -> str:
        """A token that lets ``user`` enqueue and dequeue for ``lifetime`` seconds."""
        return make_token(self.secret("operators"), user, [self.tenant], lifetime)

    def token_file(self, path: Path, user: str, lifetime: float = LIFETIME) -> Path:
        """The same, in a file for its owner alone."""
        write_file(path, f"{self.token(user, lifetime)}\n".encode(), mode=0o600)
        return path

    def rest(self) -> Rest:
        """Its interface, as anybody sees it; paths begin below ``/api``."""
        return Rest(self.name, self.network, f"{self.address}/api")

    def ask(self, path: str) -> Any:
        """What it answers about its tenant.

        Raises:
            ToolError: nothing, or an error.
        """
        return self.rest().call("GET", f"/tenant/{self.tenant}/{path}").json()

    def reconfigure(self) -> None:
        """Have it read the config project anew; a direct push there does not.

        Raises:
            ToolError: its scheduler refuses, or there are errors in the configuration.
        """
        words: list[str | Path] = [install().programs / "zuul-scheduler", "-c", self.config, "tenant-reconfigure"]
        result = self.scheduler.call([*words, self.tenant], timeout=self.deadline)
        if result.returncode != 0:
            raise ToolError(f"Zuul does not read its configuration anew: {last_lines(result)}")
        self.require_valid()

    def require_valid(self) -> None:
        """Go on only if it could read all of its configuration.

        Raises:
            ToolError: naming what it could not read.
        """
        if errors := self.ask("config-errors"):
            told = "\n".join(f"  {one['source_context']['path']}: {one['short_error']}" for one in errors)
            raise ToolError(f"Zuul finds errors in its configuration:\n{told}", remedy="Mend zuul/ of this checkout.")

    def secret(self, name: str) -> str:
        """A secret of its own, drawn the first time."""
        path = self.folder / "secrets" / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True, mode=0o700)
            write_file(path, f"{secrets.token_urlsafe(48)}\n".encode(), mode=0o600)
        return read_secret(path)

    def _await(self) -> None:
        began = time.monotonic()
        while not self._is_up():
            for box in self._services:
                if not box.running:
                    raise box.failure("ended before Zuul was ready")
            if time.monotonic() - began > self.deadline:
                raise self._not_loaded()
            time.sleep(0.2)

    def _not_loaded(self) -> AirlockError:
        error = self.scheduler.failure(f"has not loaded tenant {self.tenant} in {self.deadline:.0f} s")
        fetching = last_lines_of(self.executor.log)
        error.message += f"\n{self.executor.log} ends with:\n" + "\n".join(f"  {line}" for line in fetching)
        return error

    def _is_up(self) -> bool:
        try:
            components = self.rest().ask("GET", "/components", timeout=10)
            projects = self.rest().ask("GET", f"/tenant/{self.tenant}/projects", timeout=10)
            if not components.ok or not projects.ok:
                return False
            states: Mapping[str, list[dict[str, Any]]] = components.json()
            up = all(
                any(one["state"] == "running" for one in states.get(kind, []))
                for kind in ("scheduler", "executor", "launcher")
            )
            return up and {one["name"] for one in projects.json()} >= {CONFIG_PROJECT, *self.projects}
        except (OSError, ValueError, KeyError):
            return False
