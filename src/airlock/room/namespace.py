"""The room itself: a network namespace with only ``lo``, and a mount namespace beside it with files of our own.

The mount namespace keeps the engine's overlay mounts off the host (they vanish with the last process of the room) and
holds what programs in the room must read in place of the host's: resolver, hosts, nsswitch (a resolver that talks to
the host over a unix socket would be a way out for names) and the container engine's configuration.

``nsenter``, never ``ip netns exec``: that remounts /sys and the OCI runtime then finds no cgroups.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from airlock.core.errors import RoomError
from airlock.core.netns import NETNS_DIRECTORY, in_network
from airlock.core.process import clean_environment, find_tool, last_lines, run

_HOLDER = """set -eu
while [ "$#" -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
echo ready
exec sleep infinity
"""
T = TypeVar("T")


class Namespace:
    """A live pair of namespaces. Make one with :func:`create`."""

    def __init__(self, name: str, holder: subprocess.Popen[bytes]) -> None:
        self.name = name
        self._holder = holder  # the process that keeps the mount namespace

    @property
    def net(self) -> Path:
        """The network namespace's file."""
        return NETNS_DIRECTORY / self.name

    @property
    def net_prefix(self) -> list[str]:
        """Words before a command that run it in the network namespace alone (host's files)."""
        return ["nsenter", f"--net={self.net}", "--"]

    def command(self, arguments: Sequence[str | Path], cwd: Path | None = None) -> list[str]:
        """``arguments`` as a command line that runs inside the room (network and files)."""
        words = ["nsenter", f"--net={self.net}", f"--mount=/proc/{self._holder.pid}/ns/mnt", "--"]
        if cwd is not None:
            words += ["env", f"--chdir={cwd}"]
        return words + [str(word) for word in arguments]

    def inside(self, function: Callable[[], T]) -> T:
        """Run ``function`` in a thread that is in the network namespace; sockets it makes stay there."""
        return in_network(self.net, function)

    def close(self) -> int:
        """Kill all that lives in the room and remove it; returns how many processes were killed."""
        killed = destroy(self.name)
        self._holder.wait()
        return killed


def require_root() -> None:
    """What a room takes before anything else, for those who want to know it before they begin.

    Raises:
        RoomError: not root.
    """
    if os.geteuid() != 0:
        raise RoomError("a sealed room can only be made by root", remedy="Run the same command as root (sudo).")


def create(name: str, binds: Mapping[Path, Path]) -> Namespace:
    """Make the namespaces: ``lo`` up, every route to ``lo``, ``binds`` (target → source) mounted.

    Raises:
        RoomError: not root, or the kernel refuses.
        ToolError: ip or nsenter is missing.
    """
    require_root()
    if not re.search(r" - cgroup2? ", Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")):
        raise RoomError(
            "no control groups are mounted here, and containers need them",
            remedy="Was this started by `ip netns exec`? That hides them; `nsenter --net=/run/netns/NAME` does not.",
        )
    ip = find_tool("ip", "iproute2")
    find_tool("nsenter", "util-linux")
    for arguments in (
        ["netns", "add", name],
        ["-n", name, "link", "set", "lo", "up"],
        ["-n", name, "route", "add", "default", "dev", "lo", "src", "127.0.0.1"],
        ["-n", name, "-6", "route", "add", "default", "dev", "lo", "src", "::1", "metric", "1024"],
    ):
        result = run([ip, *arguments])
        if result.returncode != 0:
            raise RoomError(f"the sealed room could not be made: ip {' '.join(arguments)}: {last_lines(result)}")
    words = [str(part) for target, source in binds.items() for part in (source, _existing(target))]
    holder = subprocess.Popen(
        ["nsenter", f"--net={NETNS_DIRECTORY / name}", "--", "unshare", "--mount", "--propagation", "slave", "--",
         "/bin/sh", "-c", _HOLDER, "sh", *words],
        env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdout, holder.stderr:
        if holder.stdout.readline() != b"ready\n":
            said = holder.stderr.read().decode("utf-8", "replace").strip()
            holder.wait()
            raise RoomError(f"the sealed room's files could not be mounted: {said}")
    return Namespace(name, holder)


def _existing(target: Path) -> Path:
    real = target.resolve()
    if not real.exists():
        raise RoomError(
            f"{target} does not exist on this machine, so the room's own cannot be mounted over it",
            remedy=f"Create an empty {real}.",
        )
    return real


def destroy(name: str, timeout: float = 10.0) -> int:
    """Kill every process in the network namespace ``name``, then remove it. Absent is fine.

    Returns:
        How many processes were killed.

    Raises:
        RoomError: a process survives SIGKILL for ``timeout`` seconds, or the namespace is this process's own.
    """
    path = NETNS_DIRECTORY / name
    if os.getpid() in processes(path):
        raise RoomError(f"the network namespace {name} is the one this process runs in")
    killed: set[int] = set()
    deadline = time.monotonic() + timeout
    while alive := processes(path):
        if time.monotonic() > deadline:
            raise RoomError(f"processes of the room {name} cannot be killed: {sorted(alive)}")
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= alive
        time.sleep(0.02)
    if path.exists():
        run(["ip", "netns", "delete", name])
    return len(killed)


def processes(path: Path) -> set[int]:
    """Processes whose network namespace is the one at ``path`` (zombies have none and do not count)."""
    try:
        wanted = path.stat()
    except FileNotFoundError:
        return set()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                status = (entry / "ns/net").stat()
                if (status.st_ino, status.st_dev) == (wanted.st_ino, wanted.st_dev):
                    found.add(int(entry.name))
    return found
