"""The outside of a window's lab, run in its namespace: name server, web server, echoes. What is asked is noted.

python window_world.py FOLDER NAMESERVER     (FOLDER holds zone.json, www/; asked.log appears in it)
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from aiohttp import web

ECHO_TCP = (443, 9)
ECHO_UDP = (123, 443, 9)
HTTP = (80, 8080)
PACE = 1 << 14  # bytes a tick of a slow download
TICK = 0.02


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def note(self, *words: object) -> None:
        with (self.folder / "asked.log").open("a") as stream:
            stream.write(f"{time.time():.3f} {' '.join(map(str, words))}\n")

    def answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.note("dns", name, kind)
        zone = json.loads((self.folder / "zone.json").read_text())
        if name not in zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif found := zone[name].get(kind):
            response.answer.append(dns.rrset.from_text(question.name, zone[name].get("ttl", 5), "IN", kind, *found))
        return response.to_wire()

    async def name_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            answer = self.answer(await reader.readexactly(length))
            writer.write(struct.pack("!H", len(answer)) + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.note("tcp", *writer.get_extra_info("sockname")[:2])
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def web(self, request: web.Request) -> web.StreamResponse:
        self.note("http", request.host, request.path_qs)
        if target := request.query.get("to"):
            raise web.HTTPFound(target)
        path = self.folder / "www" / request.path.lstrip("/").removeprefix("slow/")
        if not path.is_file():
            raise web.HTTPNotFound
        if not request.path.startswith("/slow/"):
            return web.FileResponse(path)
        data = path.read_bytes()
        start = int(request.headers.get("Range", "bytes=0-")[6:].partition("-")[0] or 0)
        headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        response.content_length = len(data) - start
        await response.prepare(request)
        for at in range(start, len(data), PACE):
            await response.write(data[at : at + PACE])
            await asyncio.sleep(TICK)
        await response.write_eof()
        return response


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, world: World, words: str) -> None:
        self.world, self.words = world, words

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address) -> None:
        if self.words == "dns":
            self.transport.sendto(self.world.answer(data), address)
            return
        self.world.note(self.words)
        self.transport.sendto(data, address)


async def main(folder: Path, nameserver: str) -> None:
    world = World(folder)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Datagrams(world, "dns"), local_addr=(nameserver, 53))
    await asyncio.start_server(world.name_stream, nameserver, 53)
    for host in ("0.0.0.0", "::"):
        for port in ECHO_TCP:
            await asyncio.start_server(world.echo, host, port)
        for port in ECHO_UDP:
            words = f"udp {port}"
            bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            if ":" in host:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((host, port))
            await loop.create_datagram_endpoint(lambda words=words: Datagrams(world, words), sock=bound)
    app = web.Application()
    app.router.add_get("/{path:.*}", world.web)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    for port in HTTP:
        for host in ("0.0.0.0", "::"):
            await web.TCPSite(runner, host, port).start()
    (folder / "ready").touch()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
