"""Answers on their way from an upstream into the pool, which clients may read while they arrive."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO

import aiohttp

from airlock.core.errors import AirlockError, IntegrityError, SpaceError, UpstreamError
from airlock.core.files import PART
from airlock.core.http import reason
from airlock.core.settings import FetchTable
from airlock.core.space import FULL
from airlock.fetch.http import CHUNK, TRANSIENT, Refused, pause, request_url, shown
from airlock.fetch.simple import ACCEPT, MAX_PAGE
from airlock.fetch.transcript import PLAIN, Entry, absent
from airlock.store.pool import Pool

MAX_ANSWER = 8 << 30  # bytes of one answer


class Flight:
    """One answer while it arrives. ``entry`` or ``error`` is set at the end.

    Attributes:
        started: whether status and size are known and bytes arrive at ``part``.
        total: bytes to come in all, None where the upstream does not say.
        written: bytes that are there.
        generation: grows when the upstream could not resume and the file began anew.
    """

    def __init__(self, upstream: str, path: str) -> None:
        self.upstream, self.path = upstream, path
        self.entry: Entry | None = None
        self.error: AirlockError | None = None
        self.part: Path | None = None
        self.started = False
        self.total: int | None = None
        self.written = 0
        self.generation = 0
        self._news = asyncio.Event()

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.entry is not None or self.error is not None

    def tell(self) -> None:
        """Wake whoever waits for news."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self) -> None:
        """Wait until something has changed."""
        await self._news.wait()

    async def result(self) -> Entry:
        """The whole answer.

        Raises:
            AirlockError: there will be none.
        """
        while not self.done:
            await self.news()
        if self.entry is None:
            assert self.error is not None
            raise self.error
        return self.entry


class Recorder:
    """Fetches answers into the pool.

    Args:
        client: see ``http.session``.
        settings: retries, and the seconds without a byte that count as stalled.
    """

    def __init__(self, pool: Pool, client: aiohttp.ClientSession, settings: FetchTable) -> None:
        self._pool, self._client, self._settings = pool, client, settings
        self._folder = pool.root / "incoming"
        self._folder.mkdir(parents=True, exist_ok=True)
        _remove_orphans(self._folder)

    async def fly(self, flight: Flight, url: str, *, page: bool = False, sha256: str = "", accept: str = "") -> None:
        """Fetch ``url`` to the end, or to an error, and set it in ``flight``; raises nothing of its own.

        Args:
            page: a simple page: asked for in JSON first, compressed on the way, its type kept.
            sha256: what the bytes must be, where that is known.
            accept: what to ask for where it is no page.
        """
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"} if page else {"Accept": accept or "*/*"}
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=PART)
        flight.part = Path(name)
        try:
            with os.fdopen(handle, "r+b", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # so that no other process takes it for an orphan
                flight.entry = await self._persist(flight, url, stream, headers, page, sha256)
        except AirlockError as error:
            flight.error = error
        except OSError as error:
            if error.errno in FULL:
                flight.error = SpaceError(
                    f"the disk of the pool {self._pool.root} is full; {flight.upstream}: {flight.path} cannot be kept"
                )
            else:
                flight.error = UpstreamError(f"{flight.upstream}: {flight.path} cannot be kept: {error.strerror}")
        finally:
            if not flight.done:  # cancelled
                flight.error = UpstreamError(f"{flight.upstream}: {flight.path}: the witness was closed meanwhile")
            flight.part.unlink(missing_ok=True)
            flight.tell()

    async def _persist(
        self, flight: Flight, url: str, stream: IO[bytes], headers: dict[str, str], page: bool, sha256: str
    ) -> Entry:
        receiver = _Receiver(flight, stream)
        for attempt in range(self._settings.retries + 1):
            try:
                asked = headers | receiver.resume_headers()
                async with self._client.get(request_url(url), headers=asked, auto_decompress=page) as answer:
                    if answer.status in (404, 410):
                        return absent(flight.upstream, flight.path)
                    await receiver.take(answer, page)
                kind = answer.content_type if page else PLAIN
                return self._finish(flight, url, receiver, kind, sha256)
            except TRANSIENT as error:
                if attempt == self._settings.retries:
                    raise UpstreamError(
                        f"upstream {flight.upstream}: {shown(url)} cannot be fetched, tried {attempt + 1} times: "
                        f"{reason(error)}"
                    ) from None
                await asyncio.sleep(pause(attempt))
        raise AssertionError("unreachable")

    def _finish(self, flight: Flight, url: str, receiver: _Receiver, kind: str, sha256: str) -> Entry:
        found = receiver.digest.hexdigest()
        if sha256 and found != sha256:
            raise IntegrityError(
                f"upstream {flight.upstream} serves other bytes than its index declares: {shown(url)} has sha256 "
                f"{found}, declared is {sha256}",
                remedy="Do not trust this mirror: name another one in factory.toml, or wait until it is repaired.",
            )
        assert flight.part is not None
        if not self._pool.has(found, flight.written):
            target = self._pool.path(found)
            target.parent.mkdir(parents=True, exist_ok=True)
            flight.part.chmod(0o644)
            flight.part.rename(target)
        return Entry(flight.upstream, flight.path, 200, found, flight.written, kind)


class _Receiver:
    """Takes the bodies of one answer's attempts into its file, hashing; goes on where the last one broke off."""

    def __init__(self, flight: Flight, stream: IO[bytes]) -> None:
        self._flight, self._stream = flight, stream
        self._validator = ""
        self.digest = hashlib.sha256()

    def resume_headers(self) -> dict[str, str]:
        """Range headers where something is there already and the upstream named its version (RFC 9110, 13.1.5)."""
        if not self._flight.written or not self._validator:
            return {}
        return {"Range": f"bytes={self._flight.written}-", "If-Range": self._validator}

    async def take(self, answer: aiohttp.ClientResponse, page: bool) -> None:
        """Read one attempt's body.

        Raises:
            IntegrityError: it is larger than anything may be.
            aiohttp.ClientError, OSError: it broke off.
        """
        flight = self._flight
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {flight.written}-"
        )
        if answer.status != 200 and not resumed:
            raise Refused(answer.status, answer.reason)
        if not resumed:
            self._begin_anew(page, answer)
            flight.total = None if page else answer.content_length
        flight.started = True
        flight.tell()
        limit = MAX_PAGE if page else MAX_ANSWER
        async for chunk in answer.content.iter_chunked(CHUNK):
            if flight.written + len(chunk) > limit:
                raise IntegrityError(f"{flight.upstream}: {flight.path} is larger than {limit >> 20} MiB")
            self._stream.write(chunk)
            self.digest.update(chunk)
            flight.written += len(chunk)
            flight.tell()

    def _begin_anew(self, page: bool, answer: aiohttp.ClientResponse) -> None:
        self._stream.seek(0)
        self._stream.truncate()
        self.digest = hashlib.sha256()
        self._flight.written = 0
        self._flight.generation += 1
        tag = answer.headers.get("ETag", "")
        strong = "" if tag.startswith("W/") else tag
        self._validator = "" if page else strong or answer.headers.get("Last-Modified", "")


def _remove_orphans(folder: Path) -> None:
    """Remove what a killed process left: files that nobody holds a lock on."""
    for path in folder.glob(f"*{PART}"):
        with contextlib.suppress(OSError), path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
