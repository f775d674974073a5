"""What squid takes of this machine: a user, folders that let it pass, a port, and who is connected to that."""

from __future__ import annotations

import pwd
import socket
from collections.abc import Iterator
from pathlib import Path

from airlock.core.errors import AirlockError, ToolError

ACCOUNT = "proxy"  # of Debian's package
_AT_WORK = ("01", "03", "08")  # established, half open, closed by the client alone
_CONNECTIONS = Path("/proc/net/tcp")


def account_of_squid() -> pwd.struct_passwd:
    """The user that squid runs as.

    Raises:
        ToolError: there is none.
    """
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise ToolError(f"there is no user {ACCOUNT}, which Debian's squid runs as") from None


def require_passable(folder: Path) -> None:
    """squid's user has to get to its folder, whose parents may be root's alone.

    Raises:
        AirlockError: one of them lets nobody else pass.
    """
    account = account_of_squid()
    for parent in folder.parents:
        status = parent.stat()
        if not status.st_mode & 0o001 and status.st_uid != account.pw_uid:
            raise AirlockError(
                f"squid's user {ACCOUNT} cannot get to {folder}: {parent} lets no others pass",
                remedy=f"chmod o+x {parent}, or move the factory.",
            )


def free_port() -> int:
    """A port of this machine's loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def connections(port: int) -> Iterator[str]:
    """Clients of a port of this machine's loopback whose connections its listener has not closed yet (proc(5))."""
    place = f"0100007F:{port:04X}"
    for line in _CONNECTIONS.read_text("ascii").splitlines()[1:]:
        words = line.split()
        if words[1] == place and words[3] in _AT_WORK:
            yield words[2]
