"""Debian's docker-registry: where a site keeps its images."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from airlock.core.files import write_file
from airlock.core.process import find_tool, run
from boxes.box import Box
from boxes.logins import Login, draw_login
from boxes.network import HOST, LOOPBACK, Network
from boxes.rest import Rest

# bcrypt is what docker-registry reads, and libcrypt, which every Debian's perl has, makes it.
_BCRYPT = "chomp(my $password = <STDIN>); print crypt($password, '$2y$05$' . $ARGV[0])"
_BCRYPT_SALT = 22  # characters


class Registry(Box):
    """One registry that lets images be deleted.

    Args:
        folder: storage, configuration, log.
        port: of HTTP.
        user: who may log in; empty: everyone may do everything.
        network: where it lives.
    """

    name: ClassVar[str] = "registry"
    deadline: ClassVar[float] = 30.0

    def __init__(self, folder: Path, *, port: int, user: str = "", network: Network = HOST) -> None:
        super().__init__(folder, ports=[port], network=network)
        self.host = f"{LOOPBACK}:{port}"
        self.address = f"http://{self.host}"
        self.storage = self.folder / "storage"
        self.config = self.folder / "registry.yml"
        self._user = user

    @property
    def login(self) -> Login | None:
        """Who may log in; None where everyone may do everything."""
        return draw_login(self.folder / "secrets", self._user) if self._user else None

    def command(self) -> Sequence[str | Path]:
        """It serves what its configuration says."""
        return [find_tool("docker-registry", "docker-registry"), "serve", self.config]

    def prepare(self) -> None:
        """Write its configuration (YAML, of which JSON is a part)."""
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if login := self.login:
            passwords = self.folder / "secrets/htpasswd"
            write_file(passwords, f"{login.user}:{_bcrypt(login)}\n".encode(), mode=0o600)
            settings["auth"] = {"htpasswd": {"realm": self.name, "path": str(passwords)}}
        write_file(self.config, msgspec.json.format(msgspec.json.encode(settings)))

    def ready(self) -> bool:
        """Whether it speaks the protocol of registries."""
        try:
            return Rest(self.name, self.network, self.address).ask("GET", "/v2/", timeout=5).status in (200, 401)
        except OSError:
            return False


def _bcrypt(login: Login) -> str:
    """The password as the registry's file wants it; it goes through a pipe, never onto a command line."""
    salt = secrets.token_hex(_BCRYPT_SALT // 2)
    result = run([find_tool("perl", "perl-base"), "-e", _BCRYPT, salt], data=login.password.encode(), check=True)
    return result.stdout.decode()
