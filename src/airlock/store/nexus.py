"""The artifact store in a raw hosted repository of a Nexus: files by GET and PUT, what there is by its REST API.

What the server says is not taken for more than it is. An upload that it acknowledged may be lost when it is killed; a
listing or a HEAD names files whose bytes are gone; `412` or `400` say that something of the name is there and not what.
Only what came back and was hashed counts (``digest``).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import aiohttp

from airlock.core.background import Background
from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError, SpaceError, UsageError
from airlock.core.files import FileWriter
from airlock.core.nexus_settings import NexusPlace
from airlock.core.paths import safe_relative
from airlock.store.artifacts import StoredFile
from airlock.store.nexus_client import NexusClient
from airlock.store.nexus_errors import RefusedError, away, failed, other_bytes, refused_upload, unreadable
from airlock.store.nexus_listing import Page, free_space, measured, page, stored_files
from airlock.store.nexus_upload import Upload, see_writable, send

SETTLE = 2.0
"""Seconds after which an upload outlives its server: its database writes half a second behind its answers."""

T = TypeVar("T")


class NexusStore:
    """An ``ArtifactStore`` in a Nexus. Nothing is opened before it is used; leaving the context closes it.

    Its calls block, and may come from several threads; one event loop of its own does the work of all of them.
    """

    streams = 8

    def __init__(self, place: NexusPlace) -> None:
        self.client = NexusClient(place)
        self._lock = Lock()
        self._background: Background | None = None
        self._session: aiohttp.ClientSession | None = None
        self._put_at = -SETTLE

    @property
    def name(self) -> str:
        """Address and repository."""
        place = self.client.place
        return f"{place.address}/repository/{place.repository}"

    @property
    def breaks(self) -> int:
        """See ``ArtifactStore.breaks``."""
        return self.client.breaks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._lock:
            background, self._background = self._background, None
        if background is not None:
            assert self._session is not None
            background.run(self._session.close())
            background.stop()

    def call(self, work: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, T]]) -> T:
        """Do ``work`` with the store's session and wait for it."""
        with self._lock:
            if self._background is None:
                background = Background()
                try:
                    self._session = background.run(self._open())
                except BaseException:
                    background.stop()
                    raise
                self._background = background
            background, session = self._background, self._session
        assert session is not None
        return background.run(work(session))

    async def _open(self) -> aiohttp.ClientSession:
        return self.client.session()

    def ready(self) -> None:
        """See ``ArtifactStore.ready``."""
        self.call(self._ready)

    async def _ready(self, session: aiohttp.ClientSession) -> None:
        await self._simply("look for the repository", partial(self.client.look, session, "look for the repository"))

    def see_writable(self) -> None:
        """See that a file could be put, leaving none behind. Raises UsageError, UpstreamError."""
        self.call(self._see_writable)

    async def _see_writable(self, session: aiohttp.ClientSession) -> None:
        path = f"airlock-doctor/{uuid4().hex}"
        await self._simply("ask whether it may be written to", partial(see_writable, self.client, session, path))

    async def _simply(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        try:
            await self.client.repeat(what, attempt)
        except RefusedError as refused:
            raise away(self.client.place, what, refused) from None

    def put(self, path: str, source: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactStore.put``. What is there with other bytes is replaced if the repository lets this user.

        Raises:
            IntegrityError: also when it does not.
            SpaceError, UpstreamError, UsageError: see ``nexus_errors``.
        """
        upload = Upload(_checked(path), lambda: source.open("rb", buffering=0), sha256, size, str(source))
        self.call(lambda session: self._put(session, upload))

    def put_bytes(self, path: str, data: bytes) -> None:
        """See ``ArtifactStore.put_bytes``."""
        upload = Upload(_checked(path), lambda: BytesIO(data), sha256_bytes(data), len(data), path)
        self.call(lambda session: self._put(session, upload))

    async def _put(self, session: aiohttp.ClientSession, upload: Upload) -> None:
        client, path = self.client, upload.path

        async def sent(new: bool) -> RefusedError | None:
            refused = await client.repeat(f"put {path}", partial(send, client, session, upload, new=new))
            self._put_at = time.monotonic()
            return refused

        try:
            if (refused := await sent(True)) is None:
                return
            found = await self._digest(session, path)
            if found == (upload.sha256, upload.size):
                return
            if found is None:
                raise refused_upload(client.place, path, refused)
            if await sent(False) is None:  # a repository that lets files be replaced
                return
            if not await self._delete(session, path):
                raise other_bytes(client.place, path)
            if (refused := await sent(True)) is not None:
                raise refused_upload(client.place, path, refused)
        except RefusedError as refused:
            room = await free_space(client, session)
            raise failed(client.place, f"put {path}", refused, room, upload.size) from None

    async def _delete(self, session: aiohttp.ClientSession, path: str) -> bool:
        """Whether this user may, and it is gone."""
        client, what = self.client, f"delete {path}"

        async def once() -> bool:
            async with client.request(session, "DELETE", client.file(path), what):
                return True

        try:
            return await client.repeat(what, once)
        except (UsageError, RefusedError):
            return False

    def digest(self, path: str) -> tuple[str, int] | None:
        """See ``ArtifactStore.digest``."""
        return self.call(lambda session: self._digest(session, _checked(path)))

    async def _digest(self, session: aiohttp.ClientSession, path: str) -> tuple[str, int] | None:
        digest, size = hashlib.sha256(), 0
        try:
            async with aclosing(self.client.chunks(session, path)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            return None
        except RefusedError:
            return "", size
        return digest.hexdigest(), size

    def read_bytes(self, path: str, limit: int) -> bytes:
        """See ``ArtifactStore.read_bytes``."""
        return self.call(lambda session: self._read(session, _checked(path), limit))

    async def _read(self, session: aiohttp.ClientSession, path: str, limit: int) -> bytes:
        data = bytearray()
        async with aclosing(self._chunks(session, path)) as chunks:
            async for chunk in chunks:
                data += chunk
                if len(data) > limit:
                    raise IntegrityError(f"{path} in {self.name} is larger than {limit} bytes")
        return bytes(data)

    def local(self, path: str) -> Path | None:
        """See ``ArtifactStore.local``: never."""
        return None

    def fetch(self, path: str, target: Path, *, sha256: str, size: int) -> None:
        """See ``ArtifactStore.fetch``."""
        self.call(lambda session: self._fetch(session, _checked(path), target, sha256, size))

    async def _fetch(self, session: aiohttp.ClientSession, path: str, target: Path, sha256: str, size: int) -> None:
        with FileWriter(target, durable=False) as writer:
            async with aclosing(self._chunks(session, path)) as chunks:
                async for chunk in chunks:
                    writer.write(chunk)
                    if writer.size > size:
                        break
            if (writer.sha256, writer.size) != (sha256, size):
                raise IntegrityError(
                    f"{path} in {self.name} holds other bytes than it should: sha256 {writer.sha256}, {writer.size} "
                    f"bytes; expected {sha256}, {size} bytes",
                    remedy="It was not taken. Bring it again: what is wrong is mended.",
                )

    async def stream(self, path: str) -> AsyncGenerator[bytes, None]:
        """See ``ArtifactStore.stream``: in the caller's event loop, over a connection of its own."""
        async with self.client.session() as session, aclosing(self._chunks(session, _checked(path))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _chunks(self, session: aiohttp.ClientSession, path: str) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self.client.chunks(session, path)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except RefusedError as refused:
            raise unreadable(self.client.place, path, refused) from None

    def list(self, prefix: str) -> Iterator[StoredFile]:
        """See ``ArtifactStore.list``: in Nexus's order, page by page, always the whole repository."""
        seen: str | None = None
        while True:
            listed = self.call(partial(self._page, token=seen))
            for file in stored_files(listed, prefix):
                yield file if file.size >= 0 else self.call(partial(measured, self.client, file))
            token = listed.continuation_token
            if token is None or token == seen:
                return
            seen = token

    async def _page(self, session: aiohttp.ClientSession, token: str | None) -> Page:
        return await page(self.client, session, token)

    def free(self) -> int | None:
        """See ``ArtifactStore.free``."""
        return self.call(lambda session: free_space(self.client, session))

    def require(self, needed: int, what: str) -> bool:
        """See ``ArtifactStore.require``."""
        free = self.free()
        if free is not None and free < needed + (16 << 20):
            raise SpaceError(
                f"{what} needs {needed / 1e6:,.0f} MB in {self.name}, whose blob store has {free / 1e6:,.0f} MB free"
            )
        return free is not None

    def sync(self) -> None:
        """See ``ArtifactStore.sync``: waits until the last upload is old enough to outlive a kill of the server."""
        time.sleep(max(0.0, self._put_at + SETTLE - time.monotonic()))


def _checked(path: str) -> str:
    return str(safe_relative(path))
