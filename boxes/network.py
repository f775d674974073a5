"""Where a box lives: the machine's own loopback, or a network namespace that has loopback and nothing else."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from airlock.core.errors import ToolError
from airlock.core.netns import NETNS_DIRECTORY, in_network
from airlock.core.process import find_tool

LOOPBACK = "127.0.0.1"
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
T = TypeVar("T")


class Listener(msgspec.Struct, frozen=True):
    """A socket that listens: its address in the kernel's hexadecimal (`0100007F` is 127.0.0.1), port and inode."""

    address: str
    port: int
    inode: int


class Network(msgspec.Struct, frozen=True):
    """The network of this process, or the network namespace ``name`` (as ``ip netns`` knows it)."""

    name: str = ""

    @property
    def path(self) -> Path:
        """The namespace's file."""
        return NETNS_DIRECTORY / self.name if self.name else Path("/proc/self/ns/net")

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """``arguments`` as a command line that runs in this network; the process is the program itself.

        Raises:
            ToolError: nsenter is missing.
        """
        words = [str(word) for word in arguments]
        if not self.name:
            return words
        return [find_tool("nsenter", "util-linux"), f"--net={self.path}", "--", *words]

    def inside(self, function: Callable[[], T]) -> T:
        """Call ``function`` where the sockets that it makes are this network's; they stay so afterwards.

        Raises:
            ToolError: there is no such namespace.
        """
        if not self.name:
            return function()
        if not self.path.exists():
            raise ToolError(
                f"there is no network namespace {self.name}",
                remedy=f"Make it first: ip netns add {self.name} && ip -n {self.name} link set lo up",
            )
        return in_network(self.path, function)

    def listeners(self) -> list[Listener]:
        """Every TCP socket that listens in this network."""
        return self.inside(_listeners)

    def port_taken(self, port: int) -> bool:
        """Whether a server could not listen on ``port`` of 127.0.0.1."""
        return self.inside(lambda: _taken(port))

    def free_port(self) -> int:
        """A port of 127.0.0.1 that nobody listens on now."""

        def ask() -> int:
            with socket.socket() as probe:
                probe.bind((LOOPBACK, 0))
                return int(probe.getsockname()[1])

        return self.inside(ask)

    def accepts(self, port: int) -> bool:
        """Whether a server takes connections on ``port`` of 127.0.0.1."""

        def ask() -> bool:
            with socket.socket() as probe:
                probe.settimeout(2.0)
                return probe.connect_ex((LOOPBACK, port)) == 0

        return self.inside(ask)

    def holder(self, port: int) -> str:
        """Who listens on ``port``, for a message: ``nginx (process 812)``; empty when it cannot be found."""
        inodes = {f"socket:[{one.inode}]" for one in self.listeners() if one.port == port}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if any(str(handle.readlink()) in inodes for handle in (entry / "fd").iterdir()):
                        return f"{(entry / 'comm').read_text().strip()} (process {entry.name})"
        return ""


HOST = Network()


def _listeners() -> list[Listener]:
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            # A thread may be in a namespace of its own, so not /proc/net, which is that of the process.
            for line in Path("/proc/thread-self/net", table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN:
                    address, port = words[1].split(":")
                    found.append(Listener(address, int(port, 16), int(words[9])))
    return found


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False
