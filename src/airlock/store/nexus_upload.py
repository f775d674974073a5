"""One attempt to put a file into a Nexus. Its last piece is held back until its hash is known to be right.

A write-once repository would keep what came first: bytes that changed while they were read must never be there whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import IO

import aiohttp
import msgspec

from airlock.core.errors import IntegrityError
from airlock.store.nexus_client import BROKEN, CHUNK, CONNECT, STALL, NexusClient
from airlock.store.nexus_errors import RefusedError, unknown

ANSWER = 300.0  # seconds from the last byte to the answer
ASK_FIRST = 1 << 20  # bytes from which the server is asked before they are sent
_TAKEN = frozenset({400, 412})


class Upload(msgspec.Struct, frozen=True):
    """What is to be put: opened anew for each attempt."""

    path: str
    open: Callable[[], IO[bytes]]
    sha256: str
    size: int
    source: str


class _Body:
    """The bytes on their way; ``error`` tells of a source that is not what it should be."""

    def __init__(self, upload: Upload, stream: IO[bytes]) -> None:
        self._upload, self._stream = upload, stream
        self._digest = hashlib.sha256()
        self.error: Exception | None = None

    def _read(self) -> bytes:
        data = self._stream.read(CHUNK)
        self._digest.update(data)
        return data

    async def chunks(self, moved: Callable[[float], None]) -> AsyncIterator[bytes]:
        """The pieces.

        Args:
            moved: is told with each of them how many seconds the next step may take.
        """
        upload, count = self._upload, 0
        try:
            held = b""
            while chunk := await asyncio.to_thread(self._read):
                count += len(chunk)
                if count > upload.size:
                    break
                if held:
                    yield held
                    moved(STALL)
                held = chunk
            if (count, self._digest.hexdigest()) != (upload.size, upload.sha256):
                raise IntegrityError(
                    f"{upload.source} is not what its name says: sha256 {self._digest.hexdigest()}, {count} bytes; "
                    f"expected {upload.sha256}, {upload.size} bytes",
                    remedy="It was not stored. Fetch or bring the file again.",
                )
            moved(ANSWER)
            if held:
                yield held
                moved(ANSWER)
        except (IntegrityError, OSError) as error:
            self.error = error
            raise


async def send(
    client: NexusClient, session: aiohttp.ClientSession, upload: Upload, *, new: bool
) -> RefusedError | None:
    """Put it; None if the server says that it is stored, its refusal where it has or wants no such file.

    Args:
        new: nothing of that name may be there. The server is told so before the body is sent; one that does not
            listen refuses after it, or replaces the same by the same.

    Raises:
        IntegrityError: the source holds other bytes; the upload was cut off.
        OSError: the source cannot be read.
        UsageError, RefusedError: see ``NexusClient.request``.
    """
    what = f"put {upload.path}"
    loop = asyncio.get_running_loop()
    with await asyncio.to_thread(upload.open) as stream:
        body = _Body(upload, stream)
        try:
            async with (
                asyncio.timeout(STALL) as limit,
                client.request(
                    session,
                    "PUT",
                    client.file(upload.path),
                    what,
                    data=body.chunks(lambda seconds: limit.reschedule(loop.time() + seconds)),
                    headers={"Content-Length": str(upload.size)} | ({"If-None-Match": "*"} if new else {}),
                    skip_auto_headers=["Content-Type"],  # Nexus finds it by name and bytes
                    expect100=upload.size >= ASK_FIRST,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT),
                ) as answer,
            ):
                if answer.status == 404:
                    raise unknown(client.place, what)
        except RefusedError as refused:
            if refused.status not in _TAKEN:
                raise
            return refused
        except BROKEN:
            if body.error is not None:
                raise body.error from None
            raise
    return None


async def see_writable(client: NexusClient, session: aiohttp.ClientSession, path: str) -> None:
    """See that a file could be put, without putting one: permission is asked for, and when it comes nothing is sent.

    Args:
        path: of no file.

    Raises:
        UsageError, UpstreamError, RefusedError: why not.
    """
    what = "ask whether it may be written to"
    async with client.request(session, "GET", client.rest("status/writable"), what):
        pass
    asked = False

    async def nothing() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        raise ConnectionAbortedError
        yield b""

    headers = {"Content-Length": "1", "If-None-Match": "*"}
    try:
        async with client.request(
            session, "PUT", client.file(path), what, data=nothing(), headers=headers, expect100=True
        ) as answer:
            if answer.status == 404:
                raise unknown(client.place, what)
    except BROKEN:
        if not asked:
            raise
