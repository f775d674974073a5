"""Our OCI runtime wrapper: put in place for one room, and what it logs read back."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from airlock.core.errors import RoomError
from airlock.core.files import write_file
from airlock.core.process import find_tool, run
from airlock.room.report import ContainerStart

NAME = "airlock"
_MAX_LOG = 64 << 20  # bytes of the wrapper's log that are read


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """A mount for every container.

    ``kind``: ``directory`` an empty tmpfs, ``file`` an empty file, both of the target's owner and mode and only where
    the target exists without a link on the way; ``bind`` the host path ``source``, always (the engine's runtime makes a
    missing target, which then is in the layer).
    """

    target: str
    kind: Literal["directory", "file", "bind"]
    source: str = ""
    options: tuple[str, ...] = ()


# Logs and caches that hold the time of the build; covered, they stay out of the layers.
BUILD_LOGS = (
    Mount(target="/var/log/apt", kind="directory"),
    Mount(target="/var/log/dpkg.log", kind="file"),
    Mount(target="/var/log/alternatives.log", kind="file"),
    Mount(target="/var/cache/ldconfig", kind="directory"),
)


class Runtime:
    """The wrapper in ``directory``.

    Args:
        directory: on a file system that allows execution, which /run often does not.
        listener: socket of the seccomp listener.
        state: where runc remembers its containers.
        mounts: for every container.
    """

    def __init__(self, directory: Path, listener: Path, state: Path, mounts: tuple[Mount, ...] = BUILD_LOGS) -> None:
        self.program = directory / "airlock-runc"
        self._settings = directory / "runtime.json"
        self._log = directory / "containers.jsonl"
        self._listener = listener
        self._state = state
        self._mounts = mounts
        self._offset = 0
        self._starts: list[ContainerStart] = []

    def install(self) -> None:
        """Write the wrapper and its settings; an older log is removed.

        Raises:
            ToolError: runc is missing.
        """
        self._log.unlink(missing_ok=True)
        settings = {
            "runtime": find_tool("runc", "runc"),
            "listener": str(self._listener),
            "state": str(self._state),
            "log": str(self._log),
            "mounts": msgspec.to_builtins(self._mounts),
        }
        write_file(self._settings, msgspec.json.format(msgspec.json.encode(settings)), durable=False)
        _, _, body = resources.files("airlock.room").joinpath("oci_wrapper.py").read_text("utf-8").partition("\n")
        interpreter = os.path.realpath(sys.executable)
        if len(interpreter) > 200 or " " in interpreter:
            interpreter = find_tool("python3", "python3-minimal")
        write_file(self.program, f"#!{interpreter} -IS\n{body}".encode(), durable=False, mode=0o755)

    def containers(self) -> list[ContainerStart]:
        """Every container so far, oldest first.

        Raises:
            RoomError: the log is not what the wrapper writes.
        """
        if self._log.exists():
            with self._log.open("rb") as stream:
                stream.seek(self._offset)
                lines = stream.read(_MAX_LOG).rpartition(b"\n")[0]
            if lines:
                self._offset += len(lines) + 1
                try:
                    self._starts += [msgspec.json.decode(line, type=ContainerStart) for line in lines.splitlines()]
                except msgspec.DecodeError as error:
                    raise RoomError(f"the runtime wrapper's log is damaged: {error}") from error
        return list(self._starts)

    def hostnames(self) -> frozenset[str]:
        """Host names of all containers so far."""
        return frozenset(start.hostname for start in self.containers() if start.hostname)


def forget_containers(state: Path) -> None:
    """Remove what runc keeps of containers that were killed: its notes in ``state`` and their control groups."""
    if state.is_dir():
        runc = find_tool("runc", "runc")
        for container in state.iterdir():
            run([runc, "--root", state, "delete", "--force", container.name])
