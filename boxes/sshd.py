"""An ssh server of a box's own, for one user with one key: what Zuul knows as a static node."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from airlock.core.files import write_file
from airlock.core.process import find_tool
from boxes.box import Box
from boxes.logins import draw_key
from boxes.network import HOST, LOOPBACK, Network

_PRIVILEGE_SEPARATION = Path("/run/sshd")  # compiled into sshd, which wants it where it is root
_SHADOW = Path("/etc/shadow")
_CONFIG = """Port {port}
{listen}
HostKey {key}
AuthorizedKeysFile {authorized}
PidFile none
UsePAM {pam}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowUsers {user}
AllowTcpForwarding no
AllowAgentForwarding no
X11Forwarding no
PermitTunnel no
StrictModes no
PrintMotd no
Subsystem sftp internal-sftp
"""


class Sshd(Box):
    """One sshd. Whoever has :attr:`key` is the user that runs this.

    Args:
        folder: keys, configuration, log.
        port: of SSH.
        addresses: of loopback, how many it listens on.
        network: where it lives; sessions live there too.
    """

    name: ClassVar[str] = "sshd"

    def __init__(self, folder: Path, *, port: int, addresses: int = 1, network: Network = HOST) -> None:
        super().__init__(folder, ports=[port], network=network)
        self.addresses = [LOOPBACK, *(f"127.0.0.{number}" for number in range(2, addresses + 1))]
        self.port = port
        self.user = pwd.getpwuid(os.getuid()).pw_name

    @property
    def key(self) -> Path:
        """The private key that lets in."""
        return draw_key(self.folder / "secrets/node.key", "zuul")

    @property
    def host_key(self) -> str:
        """The server's own public key: its type and itself."""
        key = draw_key(self.folder / "secrets/host.key", "node")
        return " ".join(key.with_name(key.name + ".pub").read_text("utf-8").split()[:2])

    def command(self) -> Sequence[str | Path]:
        """The server in the foreground. It starts itself anew for each session, so its path must be absolute."""
        return [find_tool("sshd", "openssh-server"), "-D", "-e", "-f", self.folder / "sshd_config"]

    def prepare(self) -> None:
        """Write its configuration and whom it lets in."""
        authorized = self.folder / "authorized_keys"
        write_file(authorized, self.key.with_name(self.key.name + ".pub").read_bytes())
        draw_key(self.folder / "secrets/host.key", "node")
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        config = _CONFIG.format(
            port=self.port, listen="\n".join(f"ListenAddress {one}" for one in self.addresses),
            key=self.folder / "secrets/host.key", authorized=authorized,
            pam="yes" if _locked(self.user) else "no", user=self.user,
        )  # fmt: skip
        write_file(self.folder / "sshd_config", config.encode())


def _locked(user: str) -> bool:
    """Whether the user's password is locked: without PAM, sshd lets no such user in, whatever the key."""
    try:
        lines = _SHADOW.read_text("utf-8").splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{user}:!") for line in lines)
