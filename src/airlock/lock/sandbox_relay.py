"""Runs inside a sandbox without a network: forwards its loopback port to the witness's unix socket, then a command.

``python3 -I sandbox_relay.py PORT SOCKET COMMAND…``: standard library alone, since nothing else is bound in. Its exit
status is the command's.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

CHUNK = 1 << 16


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(ConnectionError, OSError, RuntimeError):
        writer.write_eof()


async def main(port: int, socket: str, command: list[str]) -> int:
    """Serve until the command has ended; returns its exit status."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_unix_connection(socket)
        except OSError as error:
            print(f"relay: {error}", file=sys.stderr)
            writer.close()
            return
        await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))
        for one in (writer, upstream_writer):
            one.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    process = await asyncio.create_subprocess_exec(*command)
    status = await process.wait()
    server.close()
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])))
