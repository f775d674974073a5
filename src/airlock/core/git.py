"""git(1) on a bare repository of our own: nobody's configuration, no hooks, bounds on what others may make it write.

A password goes to git by its own credential mechanism, through the environment: it is in no address, no argument and no
file.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from airlock.core.errors import SpaceError, ToolError
from airlock.core.process import clean_environment, find_tool, last_lines, run

MAX_FILE = (1 << 32) - 1  # bytes of one file that git writes; FAT holds no larger one either
MAX_MEMORY = 4 << 30  # bytes of addresses
TIMEOUT = 1800.0  # seconds for one command
TOO_LARGE = "signal 25"
"""What git says when a part of it met ``MAX_FILE`` (SIGXFSZ)."""

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.packedGitLimit": "1g",
    "core.packedGitWindowSize": "64m",
    "safe.directory": "*",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "transfer.unpackLimit": "1",  # what arrives is one pack, which MAX_FILE bounds
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.file.allow": "always",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
}
_OWN = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
_AUTHORITIES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$AIRLOCK_GIT_USER" "$AIRLOCK_GIT_PASSWORD"; }; f'
)


class GitServer(msgspec.Struct, frozen=True):
    """Where git goes to over the network.

    Attributes:
        url: of a repository, without user and password.
        user, password: for its host alone; empty where it asks for none.
        direct: without the machine's proxies.
    """

    url: str
    user: str = ""
    password: str = ""
    direct: bool = False

    @classmethod
    def of(cls, address: str) -> GitServer:
        """From an address that may hold a login."""
        parts = urlsplit(address)
        _, _, host = parts.netloc.rpartition("@")
        url = urlunsplit(parts._replace(netloc=host))
        return cls(url, unquote(parts.username or ""), unquote(parts.password or ""))

    def environment(self) -> dict[str, str]:
        """Variables for git: how it logs in, whom it trusts, whether it goes through a proxy."""
        found = clean_environment(network=True)
        if "GIT_SSL_CAINFO" not in found and (file := next((found[key] for key in _AUTHORITIES if key in found), "")):
            found["GIT_SSL_CAINFO"] = file
        if self.direct:
            found |= {"no_proxy": "*", "NO_PROXY": "*"}
        if self.user:
            place = urlsplit(self.url)
            found |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"credential.{place.scheme}://{place.netloc}.helper",
                "GIT_CONFIG_VALUE_0": _HELPER,
                "AIRLOCK_GIT_USER": self.user,
                "AIRLOCK_GIT_PASSWORD": self.password,
            }
        return found


class Said(msgspec.Struct, frozen=True):
    """How a command ended.

    Attributes:
        text: its standard output, stripped.
        words: what went wrong; empty when nothing did.
    """

    text: str
    words: str

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not self.words


class Git:
    """One bare repository.

    Args:
        folder: where it lies or will lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._command = [
            find_tool("prlimit", "util-linux"),
            f"--fsize={MAX_FILE}",
            f"--as={MAX_MEMORY}",
            find_tool("git", "git"),
            *(part for key, value in _SETTINGS.items() for part in ("-c", f"{key}={value}")),
        ]

    def init(self) -> None:
        """Make it, empty."""
        self("init", "--quiet", "--bare", "--template=", str(self.folder))

    def __call__(self, *arguments: str, data: bytes | None = None) -> str:
        """Run a command that only this machine can make fail; what it said.

        Raises:
            SpaceError: the disk is full.
            ToolError: git failed otherwise.
        """
        said = self.ask(*arguments, data=data)
        if said.ok:
            return said.text
        if os.strerror(errno.ENOSPC) in said.words:
            raise SpaceError(f"{self.folder}: the disk is full")
        raise ToolError(f"git {arguments[0]} failed: {said.words}")

    def ask(self, *arguments: str, data: bytes | None = None, server: GitServer | None = None) -> Said:
        """Run a command that may fail.

        Args:
            data: its standard input.
            server: whom it speaks to; without one it has no way to log in anywhere.
        """
        environment: Mapping[str, str] = _OWN | (server.environment() if server else clean_environment())
        place = [] if arguments[0] == "init" else ["--git-dir", str(self.folder)]
        try:
            result = run([*self._command, *place, *arguments], env=environment, data=data, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return Said("", f"git {arguments[0]} did not end within {TIMEOUT / 60:.0f} minutes")
        text = result.stdout.decode("utf-8", "replace").strip()
        if result.returncode == 0:
            return Said(text, "")
        if result.returncode < 0:
            return Said(text, f"git {arguments[0]} died of signal {-result.returncode}")
        return Said(text, last_lines(result, 4) or f"git {arguments[0]} ended with {result.returncode}")

    def object(self, name: str, kind: str = "commit") -> str:
        """The id of the object that a name leads to, or nothing."""
        said = self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{{kind}}}")
        return said.text if said.ok else ""

    def refs(self, *options: str) -> dict[str, str]:
        """Full names of refs → what they point at, a tag's own id included.

        Args:
            options: of git-for-each-ref(1), patterns included.
        """
        lines = self("for-each-ref", "--format=%(objectname) %(refname)", *options).splitlines()
        return {ref: ident for ident, _, ref in (line.partition(" ") for line in lines)}
