"""Getting a process to where its traffic is confined: control group, network namespace, files that resolvers read."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from airlock.core.errors import ToolError, WindowError
from airlock.core.netns import NETNS_DIRECTORY, enter_network, in_network
from airlock.core.process import find_tool
from airlock.firewall.model import Entrance
from airlock.firewall.selection import cgroup_root

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_SLAVE = 4096, 16384, 1 << 19
_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"
T = TypeVar("T")


class Outside:
    """Where this process was before it entered: whoever keeps a further window has to start from there."""

    def __init__(self) -> None:
        self._spaces = {name: os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in ("net", "mnt")}
        self._environment = dict(os.environ)
        unified = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")]
        root = cgroup_root()
        self._group = root / unified[0][3:].strip("/") / "cgroup.procs" if unified and root else None

    @property
    def environment(self) -> dict[str, str]:
        """The variables of then."""
        return dict(self._environment)

    def words(self) -> list[str]:
        """Words before a command that start it there, as far as this user may go."""
        if os.geteuid() != 0:
            return []
        places = {name: f"/proc/{os.getpid()}/fd/{handle}" for name, handle in self._spaces.items()}
        nsenter = [find_tool("nsenter", "util-linux"), f"--net={places['net']}", f"--mount={places['mnt']}", "--"]
        if self._group is None:
            return nsenter
        return ["/bin/sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh", str(self._group), *nsenter]


def enter(entrance: Entrance, folder: Path) -> None:
    """Take this process, and all that it starts from now on, to where its traffic is confined. Before any thread.

    Args:
        folder: for the files that take the place of the machine's.

    Raises:
        WindowError: the kernel refuses.
    """
    os.environ.update(entrance.environment)
    if entrance.namespace:
        try:
            enter_network(NETNS_DIRECTORY / entrance.namespace)
        except OSError as error:
            raise WindowError(
                f"the network namespace {entrance.namespace} cannot be entered: {error.strerror}"
            ) from None
    if entrance.cgroup:
        join(entrance.cgroup, os.getpid())
    if entrance.resolver and os.geteuid() == 0:
        _hide_resolvers(folder)


def join(cgroup: str, pid: int) -> None:
    """Put a process into a control group.

    Raises:
        WindowError: the kernel refuses.
        ToolError: this user may not.
    """
    root = cgroup_root()
    try:
        if root is None:
            raise WindowError("cgroup2 is not mounted any more")
        (root / cgroup / "cgroup.procs").write_text(str(pid))
    except PermissionError:
        raise ToolError(
            f"this user may not join the control group {cgroup}", remedy="Run the same command as root (sudo)."
        ) from None
    except OSError as error:
        raise WindowError(f"the control group {cgroup} cannot be joined: {error.strerror}") from None


def in_namespace(name: str, function: Callable[[], T]) -> T:
    """Run ``function`` in a network namespace, in a thread of its own; here where ``name`` is empty."""
    return in_network(NETNS_DIRECTORY / name, function) if name else function()


def _hide_resolvers(folder: Path) -> None:
    """A mount namespace in which names are looked up over the network alone: a resolver behind a unix socket
    (systemd-resolved, nscd) belongs to another process, which nothing confines.
    """
    folder.mkdir(parents=True, exist_ok=True)
    switch, resolv = folder / "nsswitch.conf", folder / "resolv.conf"
    switch.write_text(_NSSWITCH)
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:10 attempts:2\n")
    _call("unshare", _CLONE_NEWNS)
    _mount(None, "/", _MS_REC | _MS_SLAVE)
    for source, target in ((switch, "/etc/nsswitch.conf"), (resolv, "/etc/resolv.conf")):
        real = Path(target).resolve()
        if real.exists():
            _mount(str(source), str(real), _MS_BIND)
    socket = Path("/run/nscd/socket")
    if socket.exists():
        _mount("/dev/null", str(socket), _MS_BIND)


def _mount(source: str | None, target: str, flags: int) -> None:
    _call("mount", source.encode() if source else None, target.encode(), None, ctypes.c_ulong(flags), None)


def _call(name: str, *arguments: object) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise WindowError(f"the kernel refuses {name} for the confined process: {os.strerror(number)}")
