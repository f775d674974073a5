"""The HTTP mirror in the room: files of one bundle, read only, every request recorded.

The sockets are bound inside the namespace and served by this process outside, the only one with a foot in both.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from email.utils import formatdate
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from airlock.core.errors import AirlockError, IntegrityError
from airlock.room.namespace import Namespace
from airlock.room.report import Log, Served

MIRROR_NAME = "mirror.airlock.internal"
PORT = 80
MAX_FAILURES = 20
_HOSTS = frozenset({MIRROR_NAME, f"{MIRROR_NAME}:{PORT}"})


Stream = Callable[[], AsyncGenerator[bytes, None]]
"""Opens a file that lies elsewhere."""


class MirrorFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that the gateway may serve.

    ``content``: the file's path (sent with sendfile), the bytes themselves, or a stream, which must have a ``sha256``.
    ``modified``: seconds since the epoch for Last-Modified; None sends none, so that no date of this machine's disk
    ends up in an image.
    """

    content: Path | bytes | Stream
    size: int
    sha256: str | None = None
    content_type: str = "application/octet-stream"
    modified: int | None = None


class Mirror(Protocol):
    """What the gateway serves: a bundle, seen through addresses."""

    def open(self, path: str) -> MirrorFile | None:
        """The file at ``path`` (decoded, with its leading slash), or None. Called for each request, from a thread.

        Raises:
            AirlockError: it should be there and cannot be had.
        """


class Gateway:
    """Serves ``mirror`` at ``http://mirror.airlock.internal/`` in the room; ``attribution`` names the image in work.

    Attributes:
        failures: why files of the bundle could not be served, the first of them.
    """

    def __init__(self, mirror: Mirror, attribution: Callable[[], str]) -> None:
        self._mirror = mirror
        self._attribution = attribution
        self._log: Log[Served] = Log()
        self._runner: web.AppRunner | None = None
        self.failures: list[AirlockError] = []

    @property
    def served(self) -> tuple[Served, ...]:
        """Requests that were answered with a file (or a part of one)."""
        return tuple(entry for entry in self._log.entries if entry.status < 400)

    @property
    def missing(self) -> tuple[Served, ...]:
        """Requests that were not: absent files, other hosts (421), other methods, transfers that the client broke off
        (499) or for which the store gave nothing, or the wrong thing (502).
        """
        return tuple(entry for entry in self._log.entries if entry.status >= 400)

    @property
    def dropped(self) -> int:
        """Requests beyond the bound of the record."""
        return self._log.dropped

    async def start(self, namespace: Namespace) -> None:
        """Bind in the room on both loopback addresses and serve."""
        sockets = namespace.inside(lambda: [listen(socket.AF_INET, "127.0.0.1"), listen(socket.AF_INET6, "::1")])
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        application.on_response_prepare.append(_headers)
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        for bound in sockets:
            await web.SockSite(self._runner, bound).start()

    async def stop(self) -> None:
        """Close the sockets, or the namespace lives on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        file: MirrorFile | None = None
        response: web.StreamResponse | None = None
        status, sent = 500, 0
        try:
            try:
                refusal, file = await self._find(request)
                response = refusal or _response(file)
                status = 499
                await _send(request, response)
                status = response.status
            except AirlockError as error:
                status = 502
                response = await self._fail(request, response, error)
            if request.method != "HEAD" and status != 502:
                sent = response.content_length or 0
        except ConnectionError:  # the client has left: no fault of anyone here
            response = response or _refusal(499, "left")
        finally:
            self._log.add(
                Served(
                    time=time.time(),
                    method=request.method,
                    path=request.path[:4096],
                    status=status,
                    bytes=sent,
                    sha256=file.sha256 if file else None,
                    image=self._attribution(),
                    host="" if request.host.lower() in _HOSTS else request.host[:256],
                )
            )
        return response

    async def _fail(
        self, request: web.Request, response: web.StreamResponse | None, error: AirlockError
    ) -> web.StreamResponse:
        """Say that the file cannot be had; where some of it has been sent already, cut the connection."""
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(error)
        if response is not None and response.prepared:
            if request.transport is not None:
                request.transport.abort()
            return response
        refusal = _refusal(502, "the site's store does not give it")
        await _send(request, refusal)
        return refusal

    async def _find(self, request: web.Request) -> tuple[web.Response | None, MirrorFile | None]:
        if request.host.lower() not in _HOSTS:
            return _refusal(421, f"this is {MIRROR_NAME} and nothing else"), None
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "read only"), None
        if ".." in request.path.split("/") or "\0" in request.path:
            return _refusal(400, "not a path of a mirror"), None
        file = await asyncio.to_thread(self._mirror.open, request.path)
        return (None, file) if file is not None else (_refusal(404, "not in the bundle"), None)


async def _send(request: web.Request, response: web.StreamResponse) -> None:
    if isinstance(response, _StreamResponse):
        await response.send(request)
    else:
        await response.prepare(request)
        await response.write_eof()


class _FileResponse(web.FileResponse):
    """Sent by whoever prepares it first: the gateway, which records it, and not once more by aiohttp."""

    file: MirrorFile
    _writer: AbstractStreamWriter | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if not self.prepared:
            self._writer = await super().prepare(request)
        return self._writer


class _BytesResponse(web.Response):
    file: MirrorFile


class _StreamResponse(web.StreamResponse):
    """A file that lies elsewhere, hashed on its way: its last piece is held back until all of it is right.

    A range is answered with the whole, as a server may (RFC 9110, 14.2): a part could not be checked.
    """

    file: MirrorFile

    async def send(self, request: web.Request) -> None:
        """Send it.

        Raises:
            AirlockError: its store cannot, or gives other bytes. What was sent by then is not all.
        """
        file = self.file
        assert not isinstance(file.content, bytes | Path)
        self.content_length = file.size
        if request.method != "HEAD":
            digest, count, held = hashlib.sha256(), 0, b""
            async with aclosing(file.content()) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    count += len(chunk)
                    if count > file.size:
                        break
                    if held:
                        await self.prepare(request)
                        await self.write(held)
                    held = chunk
            if (count, digest.hexdigest()) != (file.size, file.sha256):
                raise IntegrityError(
                    f"the store gave other bytes for {request.path}: sha256 {digest.hexdigest()}, {count} bytes; "
                    f"expected {file.sha256}, {file.size} bytes",
                    remedy="They were not served whole. Import the bundle again: that mends the store.",
                )
        await self.prepare(request)
        if request.method != "HEAD":
            await self.write(held)
        await self.write_eof()


def _response(file: MirrorFile | None) -> web.StreamResponse:
    assert file is not None
    response: _FileResponse | _BytesResponse | _StreamResponse
    headers = {"Content-Type": file.content_type}
    if isinstance(file.content, bytes):
        response = _BytesResponse(body=file.content, headers=headers)
    elif isinstance(file.content, Path):
        response = _FileResponse(file.content, headers=headers)
    else:
        response = _StreamResponse(headers=headers | {"Accept-Ranges": "none"})
    response.file = file
    return response


def listen(family: int, address: str, port: int = PORT) -> socket.socket:
    """A listening TCP socket; call it in the room's namespace."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, port))
    bound.listen(128)
    bound.setblocking(False)
    return bound


def _refusal(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    """Say nothing about this machine: no server name, no date of the disk's files."""
    response.headers.pop("Server", None)
    if not isinstance(response, _FileResponse | _BytesResponse | _StreamResponse) or response.status >= 400:
        return
    file = response.file
    response.headers.pop("Last-Modified", None)
    response.headers.pop("ETag", None)
    if file.modified is not None:
        response.headers["Last-Modified"] = formatdate(file.modified, usegmt=True)
    if file.sha256 is not None:
        response.headers["ETag"] = f'"{file.sha256}"'
