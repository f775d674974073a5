"""HTTP to a Nexus: what may pass is tried again, for as long as a restart takes; the rest are errors for a person."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from airlock.core.nexus_settings import NexusPlace
from airlock.core.secrets import read_secret
from airlock.store.nexus_errors import RefusedError, away, closed, no_nexus, not_hosted, settled, unknown

PATIENCE = 90.0  # seconds that a server which has answered before may be away: a restart takes 15 to 40
FIRST_PATIENCE = 3.0  # … and one that has not
TRIES = 3  # of what the server fails at itself (500) or breaks off
CONNECT = 10.0  # seconds until there is a connection
STALL = 60.0  # seconds in which not one byte moves
CHUNK = 1 << 18  # bytes
_BUSY = frozenset({429, 502, 503, 504})
_MAX_DOCUMENT = 64 << 20  # bytes of one answer of the REST API
BROKEN = (RefusedError, aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError)
"""What may pass when it is tried again."""

T = TypeVar("T")


class _Repository(msgspec.Struct):
    """What is asked of a repository."""

    name: str
    format: str
    type: str


class NexusClient:
    """Requests to one repository. Nothing in it belongs to an event loop: sessions are the caller's.

    Attributes:
        breaks: how often a connection broke, or none came about.
        patience: seconds that the next operation waits for a server that is away; none once that was in vain.
    """

    def __init__(self, place: NexusPlace) -> None:
        self.place = place
        self.breaks = 0
        self.patience = FIRST_PATIENCE
        self._known = False

    @cached_property
    def _authorization(self) -> str:
        return (
            "Basic " + base64.b64encode(f"{self.place.user}:{read_secret(self.place.password_file)}".encode()).decode()
        )

    def session(self) -> aiohttp.ClientSession:
        """A client for the running event loop; to be closed by the caller.

        It goes straight to the store: proxies and .netrc of the environment are for the way to upstreams.
        """
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=STALL),
            headers={
                "User-Agent": "kolla-airlock",
                "Accept-Encoding": "identity",
                "Authorization": self._authorization,
            },
            auto_decompress=False,
            read_bufsize=CHUNK,
        )

    def file(self, path: str) -> URL:
        """Address of a file of the repository."""
        return URL(f"{self.place.address}/repository/{self.place.repository}/{quote(path)}", encoded=True)

    def rest(self, path: str) -> URL:
        """Address below the REST API."""
        return URL(f"{self.place.address}/service/rest/v1/{path}", encoded=True)

    @asynccontextmanager
    async def request(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: URL,
        what: str,
        *,
        expected: tuple[int, ...] = (404,),
        **more: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, with an answer of 2xx or one that is expected.

        Args:
            what: is done, for messages.
            more: for aiohttp.

        Raises:
            UsageError: an answer that settings or rights in Nexus have to change.
            RefusedError: any other answer.
        """
        async with session.request(method, url, allow_redirects=False, **more) as answer:
            if answer.status not in _BUSY:
                self.patience = PATIENCE
            if 200 <= answer.status < 300 or answer.status in expected:
                yield answer
                return
            refused = RefusedError(answer.status, answer.reason)
        raise settled(self.place, what, refused) or refused

    async def repeat(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """What ``attempt`` returns, tried again while that can help.

        Raises:
            UpstreamError: the server is away for too long, or frozen.
            RefusedError: what it fails at itself, time and again.
        """
        patience = Patience(self, what)
        while True:
            try:
                return await attempt()
            except BROKEN as error:
                await patience.wait(error)

    async def chunks(self, session: aiohttp.ClientSession, path: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file; a body that breaks off is gone on with.

        Raises:
            FileNotFoundError: it is not there.
            UsageError, UpstreamError, RefusedError: see ``request`` and ``repeat``.
        """
        what = f"read {path}"
        patience = Patience(self, what)
        done = 0
        while True:
            headers = {"Range": f"bytes={done}-"} if done else {}
            try:
                async with self.request(session, "GET", self.file(path), what, headers=headers) as answer:
                    if answer.status == 404:
                        await self._absent(session, path, answer)
                    skip = done if answer.status != 206 else 0
                    async for chunk in answer.content.iter_any():
                        if len(chunk) <= skip:
                            skip -= len(chunk)
                            continue
                        fresh, skip = chunk[skip:], 0
                        done += len(fresh)
                        yield fresh
                return
            except BROKEN as error:
                await patience.wait(error, moved=done)

    async def _absent(self, session: aiohttp.ClientSession, path: str, answer: aiohttp.ClientResponse) -> None:
        if "blocked" in (answer.reason or "").lower():  # a proxy's word for an upstream that is away
            raise RefusedError(503, answer.reason)
        await self.look(session, f"read {path}")
        raise FileNotFoundError(path)

    async def look(self, session: aiohttp.ClientSession, what: str) -> None:
        """See once that the repository is there and raw hosted: a 404 says the same of a file and of a repository.

        Raises:
            UsageError: it is not.
        """
        if self._known:
            return
        name = self.place.repository
        async with self.request(session, "GET", self.rest(f"repositories/{name}"), what, expected=(404, 405)) as answer:
            if answer.status == 404:
                raise unknown(self.place, what)
            found = [await self.document(answer, what, _Repository)] if answer.status == 200 else None
        if found is None:  # an old one tells of all at once
            async with self.request(session, "GET", self.rest("repositories"), what, expected=()) as answer:
                found = [one for one in await self.document(answer, what, list[_Repository]) if one.name == name]
        if not found:
            raise unknown(self.place, what)
        (told,) = found
        if (told.format, told.type) != ("raw", "hosted"):
            raise not_hosted(self.place, f"{told.format} {told.type}")
        self._known = True

    async def document(self, answer: aiohttp.ClientResponse, what: str, kind: type[T]) -> T:
        """An answer of the REST API.

        Raises:
            UsageError: it is none.
        """
        data = bytearray()
        async for chunk in answer.content.iter_any():
            data += chunk
            if len(data) > _MAX_DOCUMENT:
                break
        try:
            return msgspec.json.decode(bytes(data[:_MAX_DOCUMENT]), type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise no_nexus(self.place, what, error) from None

    async def up(self) -> bool:
        """Whether the server says that it runs, whatever it refuses."""
        try:
            async with self.session() as session, session.get(self.rest("status"), allow_redirects=False) as answer:
                return answer.status == 200
        except BROKEN:
            return False


class Patience:
    """How long one operation is tried again: by the clock while the server is away, by number where it fails itself."""

    def __init__(self, client: NexusClient, what: str) -> None:
        self._client, self._what = client, what
        self._since = time.monotonic()
        self._limit = client.patience
        self._failures = self._pauses = self._moved = 0

    async def wait(self, error: Exception, *, moved: int = 0) -> None:
        """Wait before the next attempt, or raise what is to be said.

        Args:
            moved: bytes that have arrived so far; patience begins anew with each step forward.
        """
        client = self._client
        if moved > self._moved:
            self._since, self._failures, self._pauses, self._moved = time.monotonic(), 0, 0, moved
            self._limit = PATIENCE
        if isinstance(error, RefusedError) and error.status not in _BUSY:
            if error.status != 500 or self._failures + 1 >= TRIES:
                raise error
            self._failures += 1
        elif isinstance(error, RefusedError):
            if error.status == 503 and await client.up():
                raise closed(client.place, self._what, error)
        else:
            client.breaks += 1
            if isinstance(error, aiohttp.ClientPayloadError):
                if self._failures + 1 >= TRIES:
                    raise RefusedError(0, None) from None
                self._failures += 1
        pause = min(0.5 * 2**self._pauses, 4.0) * random.uniform(0.5, 1.5)  # noqa: S311
        waited = time.monotonic() - self._since
        if waited + pause > self._limit:
            client.patience = 0.0
            raise away(client.place, self._what, error, waited)
        self._pauses += 1
        await asyncio.sleep(pause)
