"""Ports of a network namespace on the machine's own loopback: a person looks into a site that has no way out.

Connections go into the namespace, none comes out of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from functools import partial

from boxes.network import LOOPBACK, Network

CHUNK = 1 << 16


class Forward:
    """Forwards every port of ``ports``, under the same number, for as long as the context lasts."""

    def __init__(self, network: Network, ports: Iterable[int]) -> None:
        self._network, self._ports = network, tuple(ports)
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Forward:
        for port in self._ports:
            self._servers.append(await asyncio.start_server(partial(self._carry, port), LOOPBACK, port))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()

    async def _carry(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inside = self._network.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            inside.setblocking(False)
            await asyncio.get_running_loop().sock_connect(inside, (LOOPBACK, port))
            to_reader, to_writer = await asyncio.open_connection(sock=inside)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
