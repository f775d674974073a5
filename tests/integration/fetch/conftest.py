"""A stand-in upstream on loopback that misbehaves as told."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from airlock.fetch import http

CHUNK = 1 << 14


@dataclass
class Stand:
    """What it serves, how it misbehaves (one fault a request, then none; `always` never ends), what it saw."""

    files: dict[str, bytes] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    always: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    etag: bool = True
    pace: float = 0.0  # seconds between chunks
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    before_body: Callable[[], None] | None = None
    hold: dict[str, asyncio.Event] = field(default_factory=dict)  # path → wait in the middle of the body
    active: int = 0
    most_active: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, path: str) -> list[str]:
        return [wanted for asked, wanted in self.requests if asked == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            return await self._answer(request, request.path)
        finally:
            self.active -= 1

    async def _answer(self, request: web.Request, path: str) -> web.StreamResponse:
        self.requests.append((path, request.headers.get("Range", "")))
        queue = self.faults[path]
        fault, _, argument = (queue.pop(0) if queue else self.always.get(path, "")).partition(":")
        if fault.isdigit():
            return web.Response(status=int(fault), text="<html>no</html>", content_type="text/html")
        if fault == "redirect":
            raise web.HTTPFound(argument)
        if path not in self.files:
            raise web.HTTPNotFound
        body = self.files[path]
        if fault == "other":
            body = bytes(byte ^ 1 for byte in body[:100]) + body[100:]
        if fault == "shorter":
            body = body[:-7]
        if fault == "longer":
            body += b"more"
        headers = {"Content-Type": self.types.get(path, "application/octet-stream")}
        if self.etag:
            headers["ETag"] = '"1"'
        start, status = 0, 200
        wanted = re.match(r"bytes=(\d+)-$", request.headers.get("Range", ""))
        if wanted and self.ranges:
            start, status = int(wanted[1]), 206
            if start >= len(body):
                return web.Response(status=416)
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        response = web.StreamResponse(status=status, headers=headers)
        if fault != "chunked":
            response.content_length = len(body) - start
        if self.before_body:
            self.before_body()
        await response.prepare(request)
        cut = int(argument) if fault in ("cut", "reset", "stall") else len(body)
        await self._body(request, response, path, body[start : start + cut])
        if start + cut < len(body) or fault == "stall":
            await self._misbehave(request, fault)
            return response
        await response.write_eof()
        return response

    async def _body(self, request: web.Request, response: web.StreamResponse, path: str, body: bytes) -> None:
        half = len(body) // 2
        for at in range(0, len(body), CHUNK):
            if path in self.hold and at >= half:
                await self.hold[path].wait()
            piece = body[at : at + CHUNK]
            await response.write(piece)
            self.sent[path] += len(piece)
            if self.pace:
                await asyncio.sleep(self.pace)

    async def _misbehave(self, request: web.Request, fault: str) -> None:
        assert request.transport is not None
        if fault == "stall":
            await asyncio.sleep(5)
        if fault == "reset":
            await asyncio.sleep(0.05)  # so that what was sent is read before the RST
            connection = request.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.transport.abort()
        else:
            request.transport.close()


async def _serve(stand: Stand) -> web.AppRunner:
    app = web.Application()
    app.router.add_get("/{path:.*}", stand.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stand.port = runner.addresses[0][1]
    return runner


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    """One stand-in upstream."""
    made = Stand()
    runner = await _serve(made)
    yield made
    await runner.cleanup()


@pytest.fixture
async def other_stand() -> AsyncIterator[Stand]:
    """Another one, on another port."""
    made = Stand()
    runner = await _serve(made)
    yield made
    await runner.cleanup()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait as patiently as people want it."""
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)


@pytest.fixture
def dead_url() -> str:
    """An address that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
