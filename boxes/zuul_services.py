"""Zuul's own processes, one box each: scheduler (which merges nothing), executor, launcher, web."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from airlock.core.process import PATH, find_tool
from boxes.box import Box
from boxes.network import HOST, Network
from boxes.zuul_install import install

# Paths of sockets are short: ssh's control path in a job's folder wants that folder to have at most 34 characters.
RUN = Path("/run/airlock-boxes") if os.geteuid() == 0 else Path(f"/tmp/airlock-{os.getuid()}")  # noqa: S108


class Service(Box):
    """One of Zuul's processes.

    Args:
        folder: its log, home, and what it keeps.
        config: zuul.conf, written by :class:`boxes.zuul.Zuul` before it is started.
        ports: that it listens on.
        network: where it lives.
    """

    deadline: ClassVar[float] = 120.0
    grace: ClassVar[float] = 8.0  # what it keeps is in ZooKeeper

    def __init__(self, folder: Path, config: Path, *, ports: Sequence[int] = (), network: Network = HOST) -> None:
        super().__init__(folder, ports=ports, network=network)
        self.config = config

    @property
    def run_folder(self) -> Path:
        """Sockets and the executor's jobs."""
        return RUN / hashlib.sha256(str(self.config.parent).encode()).hexdigest()[:8]

    @property
    def socket(self) -> Path:
        """Where it takes commands; it is there once the service is up."""
        return self.run_folder / f"{self.name.removeprefix('zuul-')}.socket"

    def command(self) -> Sequence[str | Path]:
        """The service in the foreground, with its log on standard output."""
        return [install().programs / self.name, "-c", self.config, "-f"]

    def environment(self) -> Mapping[str, str]:
        """Zuul's programs want UTF-8; a job's sandbox has no other folder for temporary files than /tmp."""
        return {"LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108

    def prepare(self) -> None:
        """Make the folder of its socket."""
        self.run_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.socket.unlink(missing_ok=True)

    def ready(self) -> bool:
        """Whether it takes commands and connections."""
        return self.socket.exists() and super().ready()


class Scheduler(Service):
    """Decides what runs."""

    name: ClassVar[str] = "zuul-scheduler"


class Launcher(Service):
    """Gives nodes to jobs."""

    name: ClassVar[str] = "zuul-launcher"


class Web(Service):
    """REST and the web page."""

    name: ClassVar[str] = "zuul-web"


class Executor(Service):
    """Runs jobs' playbooks, and merges."""

    name: ClassVar[str] = "zuul-executor"

    @property
    def jobs(self) -> Path:
        """One folder a running job."""
        return self.run_folder / "j"

    @property
    def programs(self) -> Path:
        """Programs of its own, found before the system's; a job's sandbox does not have this folder."""
        return self.folder / "bin"

    def environment(self) -> Mapping[str, str]:
        """Its own programs first."""
        return {**super().environment(), "PATH": f"{self.programs}:{PATH}"}

    def command(self) -> Sequence[str | Path]:
        """As the others, but see ``zuul_executor``."""
        find_tool("bwrap", "bubblewrap")
        # -P: beside that program lies a module that is called zuul, too.
        return [install().python, "-P", Path(__file__).with_name("zuul_executor.py"), "-c", self.config, "-f"]

    def prepare(self) -> None:
        """Remove what jobs of an executor that was killed have left."""
        super().prepare()
        shutil.rmtree(self.jobs, ignore_errors=True)
        self.jobs.mkdir(mode=0o700)
