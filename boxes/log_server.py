"""A web server for files, and nothing but reading them: where Zuul's builds leave their logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from airlock.core.process import find_tool
from boxes.box import Box
from boxes.network import HOST, LOOPBACK, Network


class LogServer(Box):
    """One web server.

    Args:
        folder: its own log; what it serves is in :attr:`files`.
        port: of HTTP.
        network: where it lives.
    """

    name: ClassVar[str] = "logs"

    def __init__(self, folder: Path, *, port: int, network: Network = HOST) -> None:
        super().__init__(folder, ports=[port], network=network)
        self.files = self.folder / "files"
        self.address = f"http://{LOOPBACK}:{port}"
        self._port = port

    def command(self) -> Sequence[str | Path]:
        """Python's own server."""
        program = Path(__file__).with_name("serve_files.py")
        return [find_tool("python3", "python3"), "-I", program, str(self._port), self.files]

    def prepare(self) -> None:
        """Make the folder that it serves."""
        self.files.mkdir(exist_ok=True)
