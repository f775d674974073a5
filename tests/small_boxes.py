"""Boxes that are up in a moment: Python's own web server, and scripts that do not do what a server should."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from boxes.box import Box
from boxes.network import HOST, Network


class Web(Box):
    """Python's own web server on one port."""

    name = "web"
    deadline = 20.0
    grace = 5.0
    needed = 1 << 20

    def __init__(self, folder: Path, port: int, network: Network = HOST) -> None:
        super().__init__(folder, ports=[port], network=network)

    def command(self) -> Sequence[str | Path]:
        return ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", str(self.ports[0])]


class Script(Box):
    """A shell script; it is ready when it has made the file ``ready``."""

    name = "script"
    deadline = 20.0
    grace = 0.5
    needed = 1 << 20

    def __init__(self, folder: Path, script: str, ports: Sequence[int] = ()) -> None:
        super().__init__(folder, ports=ports)
        self.script = script

    def command(self) -> Sequence[str | Path]:
        return ["/bin/sh", "-c", self.script]

    def prepare(self) -> None:
        (self.folder / "ready").unlink(missing_ok=True)

    def ready(self) -> bool:
        return (self.folder / "ready").exists()


STARTER = f"""import sys, pathlib
sys.path[:0] = {sys.path!r}
from tests.small_boxes import Web
class Slow(Web):
    def ready(self):
        if super().ready():
            print("up", flush=True)
        return False
Slow(pathlib.Path(sys.argv[1]), int(sys.argv[2])).start()
"""
"""A program that starts a Web at ``FOLDER PORT``, says ``up`` and is never content: to be killed."""
