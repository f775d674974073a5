"""The witness's HTTP side: what apt, uv and sandboxes talk to. GET and HEAD, one range, no conditions."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from aiohttp import web

from airlock.core.errors import AirlockError, GoneError, IntegrityError, UsageError
from airlock.fetch.http import CHUNK
from airlock.fetch.recorder import Flight
from airlock.fetch.simple import JSON_TYPE, rewrite_page
from airlock.fetch.source import Source, is_page
from airlock.fetch.transcript import Entry
from airlock.store.pool import Pool

# A witness answers a question once: what a client has of it, it need not ask for again. uv keeps nothing without this,
# and reads every page and every wheel's metadata anew for each of a hundred pip commands.
_CONSTANT = {"Cache-Control": "public, max-age=604800, immutable"}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_FILE = re.compile(r"files/([^/]+)/([^/]+)\Z")


def make_app(pool: Pool, source: Source, url: str) -> web.Application:
    """The relay's application.

    Args:
        url: the address that clients reach it at, for the links on simple pages.
    """
    relay = _Relay(pool, source, url)
    app = web.Application()
    app.router.add_get("/{upstream}/{path:.*}", relay.handle)  # HEAD comes with it
    return app


class _Relay:
    def __init__(self, pool: Pool, source: Source, url: str) -> None:
        self._pool, self._source, self._url = pool, source, url

    async def handle(self, request: web.Request) -> web.StreamResponse:
        upstream, path = request.match_info["upstream"], request.match_info["path"]
        if ".." in path.split("/"):
            raise web.HTTPNotFound
        if request.query_string:
            path += "?" + request.query_string
        file = _FILE.match(path)
        flight = self._source.ask_file(upstream, file[1], file[2]) if file else self._source.ask(upstream, path)
        try:
            whole = file is not None or is_page(path) or "Range" in request.headers or request.method == "HEAD"
            if not whole:
                while not flight.started and not flight.done:
                    await flight.news()
                if not flight.done:
                    return await _follow(request, flight)
            entry = await flight.result()
            if entry.status != 200:
                raise web.HTTPNotFound
            if is_page(path):
                return self._page(entry, upstream, path.rstrip("/"))
            return await _send(request, self._pool.path(entry.sha256))
        except (GoneError, UsageError) as error:
            raise web.HTTPNotFound(text=error.message) from None
        except AirlockError as error:
            raise web.HTTPBadGateway(text=error.message) from None

    def _page(self, entry: Entry, upstream: str, name: str) -> web.Response:
        body = rewrite_page(self._pool.read(entry.sha256), entry.type, name, f"{self._url}/{upstream}/files/{name}")
        return web.Response(body=body, headers={"Content-Type": JSON_TYPE, **_CONSTANT})


async def _follow(request: web.Request, flight: Flight) -> web.StreamResponse:
    """Pass an answer on while it arrives. When the upstream made it begin anew, the client must, too."""
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = flight.total
    generation, sent = flight.generation, 0
    assert flight.part is not None
    with flight.part.open("rb", buffering=0) as stream:
        await response.prepare(request)
        while True:
            if flight.error is not None or flight.generation != generation:
                _cut(request)
                return response
            if sent < flight.written:
                chunk = stream.read(min(CHUNK, flight.written - sent))
                sent += len(chunk)
                await response.write(chunk)
            elif flight.done:
                break
            else:
                await flight.news()
    await response.write_eof()
    return response


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _send(request: web.Request, path: Path) -> web.StreamResponse:
    """A whole file or one range of it. Answers 200 to conditions: a recorded answer is never `not modified`."""
    try:
        stream = path.open("rb", buffering=0)
    except OSError:
        raise IntegrityError(f"{path} is missing from the pool", remedy="Run `airlock lock` again.") from None
    with stream:
        size = path.stat().st_size
        start, end, partial = _range(request.headers.get("Range", ""), size)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **_CONSTANT}
        if start >= end and partial:
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{size}"})
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        if request.method != "HEAD":
            stream.seek(start)
            while start < end:
                chunk = await asyncio.to_thread(stream.read, min(CHUNK, end - start))
                if not chunk:
                    _cut(request)
                    break
                start += len(chunk)
                await response.write(chunk)
    await response.write_eof()
    return response


def _range(header: str, size: int) -> tuple[int, int, bool]:
    """(start, end, whether it is a part): a header that is no single range means the whole (RFC 9110, 14.2)."""
    found = _RANGE.match(header)
    if not found or not (found[1] or found[2]):
        return 0, size, False
    if not found[1]:
        return max(size - int(found[2]), 0), size, True
    start = int(found[1])
    end = min(int(found[2]) + 1, size) if found[2] else size
    return start, end, True
