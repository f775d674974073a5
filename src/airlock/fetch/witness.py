"""The witness: everything that locking asks of upstreams goes through it, so that it can be asked again offline.

It listens on loopback (and, for sandboxes, on a unix socket) in a thread of its own: callers may simply run apt or uv
and wait. Every answer is recorded in the pool and named in a transcript; ``replay`` answers from those alone.
"""

from __future__ import annotations

import socket as sockets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web

from airlock.core.background import Background, background
from airlock.core.errors import FormatError, GoneError, IntegrityError
from airlock.core.settings import FetchTable
from airlock.fetch.frozen import Frozen
from airlock.fetch.http import session
from airlock.fetch.relay import make_app
from airlock.fetch.simple import ProjectFile
from airlock.fetch.source import Failure, Live, Replay, Source, page_path, read_page
from airlock.fetch.transcript import Entry, Transcript, read_transcript
from airlock.store.pool import Pool


class Witness:
    """Made by ``record`` and ``replay``.

    Attributes:
        port: where it listens on 127.0.0.1.
        frozen: answers of an earlier lock that hold, if it was made with some.
    """

    def __init__(
        self,
        pool: Pool,
        transcript: Transcript,
        source: Live | Replay,
        loop: Background,
        port: int,
        frozen: Frozen | None = None,
    ) -> None:
        self.pool = pool
        self.port = port
        self.frozen = frozen
        self._transcript, self._source, self._loop = transcript, source, loop

    @classmethod
    @asynccontextmanager
    async def record(
        cls,
        pool: Pool,
        upstreams: Mapping[str, str],
        settings: FetchTable,
        *,
        socket: Path | None = None,
        frozen: Frozen | None = None,
    ) -> AsyncIterator[Witness]:
        """A witness that asks upstreams, each question once.

        Args:
            pool: where answers go.
            upstreams: addresses by name (see ``fetch.upstreams``).
            socket: a unix socket to listen on besides.
            frozen: answers that hold, and for which no upstream is asked.
        """
        async with background() as loop:
            transcript = Transcript()
            client, source = await loop.call(_open(pool, transcript, settings, frozen))
            source.addresses.update(upstreams)
            try:
                async with _listening(pool, source, loop, socket) as port:
                    try:
                        yield cls(pool, transcript, source, loop, port, frozen)
                    finally:
                        await loop.call(source.close())
            finally:
                await loop.call(client.close())

    @classmethod
    @asynccontextmanager
    async def replay(cls, pool: Pool, transcript: str, *, socket: Path | None = None) -> AsyncIterator[Witness]:
        """A witness that answers from the pool alone what the transcript of that sha256 has.

        Raises:
            IntegrityError: the transcript is not in the pool.
            FormatError: it is none.
        """
        known = read_transcript(pool, transcript)
        async with background() as loop:
            source = Replay(known)
            async with _listening(pool, source, loop, socket) as port:
                yield cls(pool, known, source, loop, port)

    @property
    def live(self) -> bool:
        """Whether upstreams are asked; not in replay."""
        return isinstance(self._source, Live)

    @property
    def unanswered(self) -> list[str]:
        """In replay: ``<upstream>/<path>`` of what was asked and is not in the transcript, in the order of asking."""
        return list(self._source.unanswered) if isinstance(self._source, Replay) else []

    @property
    def failures(self) -> list[Failure]:
        """While recording: why questions of clients went unanswered (upstream down, wrong bytes), in that order."""
        return list(self._source.failures) if isinstance(self._source, Live) else []

    def url(self, upstream: str) -> str:
        """Address of an upstream behind the witness, without a slash at the end."""
        return f"{_address(self.port)}/{upstream}"

    def add_upstream(self, name: str, address: str) -> None:
        """Make one more upstream known; nothing in replay, which asks none."""
        if isinstance(self._source, Live):
            self._source.addresses[name] = address

    async def get(self, upstream: str, path: str, *, accept: str = "", limit: int = 0) -> bytes:
        """One (small) answer, recorded like those of clients.

        Args:
            path: below the upstream's address, unquoted.
            limit: bytes that it may have; 0 for any.

        Raises:
            FormatError: it is larger than that.
            GoneError: there is none (404), or in replay: it was not asked then.
            UpstreamError: the upstream fails after all retries.
        """
        entry = await self._loop.call(_result(self._source, upstream, path, accept))
        if entry.status != 200:
            raise GoneError(f"upstream {upstream} has no {path}")
        if limit and entry.size > limit:
            raise FormatError(f"upstream {upstream}: {path} is larger than {limit >> 20} MiB")
        return self.pool.read(entry.sha256)

    async def project(self, upstream: str, name: str) -> list[ProjectFile]:
        """The files of a Python project, in the order of its simple page.

        Raises:
            GoneError: the index has no such project.
            UpstreamError: the index fails after all retries.
            FormatError: what it answers is no simple page.
        """
        path = page_path(name)
        entry = await self._loop.call(_result(self._source, upstream, path))
        if entry.status != 200:
            raise GoneError(
                f"upstream {upstream} has no project {name}", remedy="Check the name, or the index in factory.toml."
            )
        address = self._source.addresses.get(upstream, "") if isinstance(self._source, Live) else ""
        return read_page(self.pool, entry, name, address)

    async def project_file(self, upstream: str, name: str, file: str, sha256: str) -> Path:
        """A file of a Python project in the pool, fetched when it is not there.

        Args:
            sha256: what it must be; empty to take what the page declares.

        Raises:
            GoneError: it is not on the project's page, or gone.
            IntegrityError: upstream serves other bytes.
            UpstreamError: the upstream fails after all retries.
        """
        entry = await self._loop.call(_file_result(self._source, upstream, name, file, sha256))
        if entry.status != 200:
            raise GoneError(f"upstream {upstream} has no file {file} of {name}")
        if sha256 and entry.sha256 != sha256:
            raise IntegrityError(
                f"{file} of {name} has sha256 {entry.sha256}; expected {sha256}",
                remedy="Take what upstream has now: run `airlock lock --update`, and review the change.",
            )
        return self.pool.path(entry.sha256)

    def keep(self, name: str, data: bytes) -> None:
        """Put something derived into pool and transcript, to be found by ``kept``; the last one of a name counts."""
        self._transcript.add(Entry("", name, 200, self.pool.add_bytes(data), len(data)))

    def kept(self, name: str) -> bytes:
        """What was kept under that name.

        Raises:
            IntegrityError: nothing was, or the pool lost it.
        """
        if self.frozen and self._transcript.find("", name) is None and (held := self.frozen.find("", name)):
            self._transcript.add(held)
        return self._transcript.kept(self.pool, name)

    def holds(self, name: str) -> bool:
        """Whether something was kept under that name."""
        return self._transcript.find("", name) is not None or bool(self.frozen and self.frozen.find("", name))

    def transcript(self) -> bytes:
        """The transcript so far (in replay: the given one, with what was kept anew)."""
        return self._transcript.to_bytes()


def _address(port: int) -> str:
    return f"http://127.0.0.1:{port}"


async def _open(
    pool: Pool, transcript: Transcript, settings: FetchTable, frozen: Frozen | None
) -> tuple[aiohttp.ClientSession, Live]:
    client = session(settings)  # must be made in the loop that uses it
    return client, Live(pool, transcript, client, settings, frozen)


async def _result(source: Source, upstream: str, path: str, accept: str = "") -> Entry:
    return await source.ask(upstream, path, accept).result()


async def _file_result(source: Source, upstream: str, name: str, file: str, sha256: str) -> Entry:
    return await source.ask_file(upstream, name, file, sha256).result()


async def _start(pool: Pool, source: Source, listener: sockets.socket, socket: Path | None) -> web.AppRunner:
    port = listener.getsockname()[1]
    runner = web.AppRunner(make_app(pool, source, _address(port)), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    if socket is not None:
        socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(socket)).start()
    return runner


@asynccontextmanager
async def _listening(pool: Pool, source: Source, loop: Background, socket: Path | None) -> AsyncIterator[int]:
    listener = sockets.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    runner = await loop.call(_start(pool, source, listener, socket))
    try:
        yield port
    finally:
        await loop.call(runner.cleanup())
        if socket is not None:
            socket.unlink(missing_ok=True)
