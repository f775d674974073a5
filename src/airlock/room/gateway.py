"""The HTTP mirror in the room: files of one bundle, read only, every request recorded.

The sockets are bound inside the namespace and served by this process outside, the only one with a foot in both.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from airlock.room.namespace import Namespace
from airlock.room.report import Log, Served

MIRROR_NAME = "mirror.airlock.internal"
PORT = 80
_HOSTS = frozenset({MIRROR_NAME, f"{MIRROR_NAME}:{PORT}"})


class MirrorFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file that the gateway may serve.

    ``content``: the file's path (sent with sendfile) or the bytes themselves. ``modified``: seconds since the epoch for
    Last-Modified; None sends none, so that no date of this machine's disk ends up in an image.
    """

    content: Path | bytes
    size: int
    sha256: str | None = None
    content_type: str = "application/octet-stream"
    modified: int | None = None


class Mirror(Protocol):
    """What the gateway serves: a bundle, seen through addresses."""

    def open(self, path: str) -> MirrorFile | None:
        """The file at ``path`` (decoded, with its leading slash), or None. Called for each request: be quick."""


class Gateway:
    """Serves ``mirror`` at ``http://mirror.airlock.internal/`` in the room; ``attribution`` names the image in work."""

    def __init__(self, mirror: Mirror, attribution: Callable[[], str]) -> None:
        self._mirror = mirror
        self._attribution = attribution
        self._log: Log[Served] = Log()
        self._runner: web.AppRunner | None = None

    @property
    def served(self) -> tuple[Served, ...]:
        """Requests that were answered with a file (or a part of one)."""
        return tuple(entry for entry in self._log.entries if entry.status < 400)

    @property
    def missing(self) -> tuple[Served, ...]:
        """Requests that were not: absent files, other hosts (421), other methods, broken transfers (499)."""
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
        status, sent = 500, 0
        try:
            refusal, file = self._find(request)
            response = refusal or _response(file)
            status = 499
            await response.prepare(request)
            await response.write_eof()
            status = response.status
            if request.method != "HEAD":
                sent = response.content_length or 0
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

    def _find(self, request: web.Request) -> tuple[web.Response | None, MirrorFile | None]:
        if request.host.lower() not in _HOSTS:
            return _refusal(421, f"this is {MIRROR_NAME} and nothing else"), None
        if request.method not in ("GET", "HEAD"):
            return _refusal(405, "read only"), None
        if ".." in request.path.split("/") or "\0" in request.path:
            return _refusal(400, "not a path of a mirror"), None
        file = self._mirror.open(request.path)
        return (None, file) if file is not None else (_refusal(404, "not in the bundle"), None)


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


def _response(file: MirrorFile | None) -> web.StreamResponse:
    assert file is not None
    response: _FileResponse | _BytesResponse
    if isinstance(file.content, bytes):
        response = _BytesResponse(body=file.content, headers={"Content-Type": file.content_type})
    else:
        response = _FileResponse(file.content, headers={"Content-Type": file.content_type})
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
    if not isinstance(response, _FileResponse | _BytesResponse) or response.status >= 400:
        return
    file = response.file
    response.headers.pop("Last-Modified", None)
    response.headers.pop("ETag", None)
    if file.modified is not None:
        response.headers["Last-Modified"] = formatdate(file.modified, usegmt=True)
    if file.sha256 is not None:
        response.headers["ETag"] = f'"{file.sha256}"'
