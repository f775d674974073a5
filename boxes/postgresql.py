"""PostgreSQL: a cluster of its own in a folder, on TCP alone, run by Debian's user where this is root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from signal import SIGINT, Signals
from typing import ClassVar

from airlock.core.errors import ToolError
from airlock.core.files import write_file
from airlock.core.process import find_tool, last_lines, run
from boxes.box import Box
from boxes.logins import Login, draw_login
from boxes.network import HOST, LOOPBACK, Network

_PROGRAMS = Path("/usr/lib/postgresql")
_USER = "postgres"  # whom Debian's package makes; PostgreSQL refuses to run as root
_HOME = Path("/var/lib/postgresql")  # that user's; its way there is open to it, that to the box may not be
_INIT_TIMEOUT = 120.0  # seconds
# What it holds can be made again: a crash of the machine may cost it.
_SETTINGS = {
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "100",
    "jit": "off",
}


class PostgreSQL(Box):
    """One server with one user, ``zuul``, and the database ``postgres``.

    Args:
        folder: its cluster, password and log.
        port: of TCP.
        network: where it lives.
    """

    name: ClassVar[str] = "postgresql"
    stop_signal: ClassVar[Signals] = SIGINT  # ends connections rather than waiting for them
    needed: ClassVar[int] = 256 << 20

    def __init__(self, folder: Path, *, port: int, network: Network = HOST) -> None:
        super().__init__(folder, ports=[port], network=network)
        self._port = port

    @property
    def login(self) -> Login:
        """Its user."""
        return draw_login(self.folder / "secrets", "zuul")

    @property
    def uri(self) -> str:
        """How it is reached, password included: keep it out of messages, logs and command lines."""
        return f"postgresql://{self.login.user}:{self.login.password}@{LOOPBACK}:{self._port}/postgres"

    def command(self) -> Sequence[str | Path]:
        """The server in the foreground."""
        settings = _SETTINGS | {"listen_addresses": LOOPBACK, "port": str(self._port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return self._as_user([_program("postgres"), "-D", self._place / "data", *options])

    def prepare(self) -> None:
        """Make the cluster the first time.

        Raises:
            ToolError: PostgreSQL is missing, or cannot make it.
        """
        cluster = self.folder / "cluster"
        done = self.folder / "cluster.made"
        if done.exists():
            return
        if cluster.exists():
            shutil.rmtree(cluster)
        cluster.mkdir(mode=0o700)
        password = cluster / "password"
        write_file(password, f"{self.login.password}\n".encode(), mode=0o600)
        if os.geteuid() == 0:
            for path in (cluster, password):
                shutil.chown(path, _USER, _USER)
        pwfile = f"--pwfile={self._place / password.name}"
        options = ["--username", self.login.user, pwfile, "--auth=scram-sha-256", "--no-sync"]
        locale = ["--encoding=UTF8", "--locale=C.UTF-8"]
        command = self._as_user([_program("initdb"), "-D", self._place / "data", *options, *locale])
        result = run(command, timeout=_INIT_TIMEOUT)
        password.unlink()
        if result.returncode != 0:
            raise ToolError(f"initdb failed with {result.returncode}: {last_lines(result)}")
        done.touch()

    @property
    def _place(self) -> Path:
        """Where its cluster is for its own processes."""
        return _HOME if os.geteuid() == 0 else self.folder / "cluster"

    def _as_user(self, arguments: Sequence[str | Path]) -> list[str]:
        """As root: run it as Debian's user, who finds the cluster at its home, in a mount namespace of its own."""
        words = [str(word) for word in arguments]
        if os.geteuid() != 0:
            return words
        if not _HOME.is_dir():
            raise ToolError(f"{_HOME} is missing", remedy="apt-get install --no-install-recommends postgresql")
        script = (
            'mount --bind "$0" "$1"; shift; cd /; exec setpriv --reuid=postgres --regid=postgres --init-groups "$@"'
        )
        unshare = [find_tool("unshare", "util-linux"), "--mount", "--propagation", "private"]
        return [*unshare, "/bin/sh", "-ec", script, str(self.folder / "cluster"), str(_HOME), *words]


def _program(name: str) -> Path:
    """A program of the newest PostgreSQL that Debian has here.

    Raises:
        ToolError: there is none.
    """
    found = [path for path in _PROGRAMS.glob(f"*/bin/{name}") if path.parts[-3].isdigit()]
    if not found:
        raise ToolError(f"{name} is not installed", remedy="apt-get install --no-install-recommends postgresql")
    return max(found, key=lambda path: int(path.parts[-3]))
