"""Files that lie elsewhere: hashed on their way, never whole when they are not what they should be."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from airlock.core.errors import AirlockError, IntegrityError, UpstreamError
from airlock.room.gateway import MIRROR_NAME, Gateway, MirrorFile, listen

DATA = bytes(range(256)) * 1000
PIECE = 100_000


class Elsewhere:
    """A mirror whose files come in pieces; ``harm`` says what goes wrong with them."""

    def __init__(self) -> None:
        self.whole = self.given = DATA
        self.pause = 0.0
        self.harm: AirlockError | None = None
        self.after = 0
        self.opened = self.closed = 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        self.opened += 1
        try:
            for number, start in enumerate(range(0, len(self.given), PIECE)):
                await asyncio.sleep(self.pause)
                if self.harm is not None and number >= self.after:
                    raise self.harm
                yield self.given[start : start + PIECE]
        finally:
            self.closed += 1

    def open(self, path: str) -> MirrorFile | None:
        if path == "/broken":
            raise UpstreamError("the store is away")
        if path != "/file":
            return None
        return MirrorFile(content=self.pieces, size=len(self.whole), sha256=hashlib.sha256(self.whole).hexdigest())


class Outside:
    """In place of a room's namespace: the machine's own, another port."""

    def __init__(self) -> None:
        self.port = 0

    def inside(self, _: object) -> list[socket.socket]:
        bound = listen(socket.AF_INET, "127.0.0.1", 0)
        self.port = bound.getsockname()[1]
        return [bound]


@pytest.fixture
def mirror() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
async def gateway(mirror: Elsewhere) -> AsyncIterator[Gateway]:
    made = Gateway(mirror, lambda: "keystone")
    place = Outside()
    await made.start(place)  # type: ignore[arg-type]
    made.url = f"http://127.0.0.1:{place.port}"  # type: ignore[attr-defined]
    yield made
    await made.stop()


@asynccontextmanager
async def ask(gateway: Gateway, method: str = "GET", path: str = "/file", **headers: str):  # type: ignore[no-untyped-def]
    async with (
        aiohttp.ClientSession(headers={"Host": MIRROR_NAME}) as session,
        session.request(method, f"{gateway.url}{path}", headers=headers) as answer,  # type: ignore[attr-defined]
    ):
        yield answer


async def test_a_whole_file_is_served_with_length_and_etag(gateway: Gateway, mirror: Elsewhere) -> None:
    async with ask(gateway) as answer:
        assert answer.status == 200
        assert await answer.read() == DATA
        assert answer.headers["Content-Length"] == str(len(DATA))
        assert answer.headers["ETag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
        assert "Last-Modified" not in answer.headers
        assert "Server" not in answer.headers
    (entry,) = gateway.served
    assert (entry.status, entry.bytes, entry.image) == (200, len(DATA), "keystone")
    assert (gateway.missing, gateway.failures, mirror.closed) == ((), [], 1)


async def test_head_tells_length_and_etag_and_does_not_ask_the_store(gateway: Gateway, mirror: Elsewhere) -> None:
    async with ask(gateway, "HEAD") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(DATA)))
        assert answer.headers["ETag"] == f'"{hashlib.sha256(DATA).hexdigest()}"'
    assert mirror.opened == 0
    assert [(entry.method, entry.status, entry.bytes) for entry in gateway.served] == [("HEAD", 200, 0)]


@pytest.mark.parametrize("wanted", ["bytes=5-9", "bytes=-5", "bytes=999999999-"])
async def test_a_range_is_answered_with_the_whole_which_can_be_checked(gateway: Gateway, wanted: str) -> None:
    async with ask(gateway, Range=wanted) as answer:
        assert (answer.status, await answer.read()) == (200, DATA)
        assert answer.headers["Accept-Ranges"] == "none"


@pytest.mark.parametrize("given", [DATA[:-1] + b"?", DATA[:-1], DATA + b"?", DATA[:PIECE], b"", b"?" + DATA[1:]])
async def test_other_bytes_never_arrive_whole(gateway: Gateway, mirror: Elsewhere, given: bytes) -> None:
    mirror.given = given
    async with ask(gateway) as answer:
        if answer.status == 200:  # some of it was on its way before all was known
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        else:
            assert answer.status == 502
    assert gateway.served == ()
    (entry,) = gateway.missing
    assert (entry.status, entry.path, entry.bytes, entry.image) == (502, "/file", 0, "keystone")
    (failure,) = gateway.failures
    assert isinstance(failure, IntegrityError)
    assert "other bytes for /file" in failure.message
    assert mirror.closed == 1


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_store_that_goes_away_is_recorded_and_the_connection_is_cut(
    gateway: Gateway, mirror: Elsewhere, after: int
) -> None:
    mirror.harm, mirror.after = UpstreamError("the store is away"), after
    async with ask(gateway) as answer:
        if after < 2:  # the first piece is held back
            assert (answer.status, await answer.text()) == (502, "the site's store does not give it\n")
        else:
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
    assert [entry.status for entry in gateway.missing] == [502]
    assert gateway.failures == [mirror.harm]
    mirror.harm = None
    async with ask(gateway) as answer:
        assert await answer.read() == DATA


async def test_a_mirror_that_cannot_look_is_recorded_too(gateway: Gateway) -> None:
    async with ask(gateway, path="/broken") as answer:
        assert answer.status == 502
    async with ask(gateway, path="/absent") as answer:
        assert answer.status == 404
    assert [(entry.path, entry.status) for entry in gateway.missing] == [("/broken", 502), ("/absent", 404)]
    assert [failure.message for failure in gateway.failures] == ["the store is away"]


async def test_a_client_that_leaves_closes_the_stream_without_a_word(
    gateway: Gateway, mirror: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.pause = 0.05
    async with ask(gateway) as answer:
        answer.close()
    while not gateway.missing:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert mirror.opened == mirror.closed == 1
    assert [(entry.status, entry.bytes) for entry in gateway.missing] == [(499, 0)]
    assert (gateway.failures, caplog.records) == ([], [])


async def test_a_client_that_left_before_the_store_was_known_to_be_away_is_no_fault_either(
    gateway: Gateway, mirror: Elsewhere, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.pause, mirror.harm = 0.2, UpstreamError("the store is away")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05), ask(gateway):
            pass
    while not gateway.missing:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert [entry.status for entry in gateway.missing] == [502]
    assert (gateway.failures, caplog.records) == ([mirror.harm], [])


async def test_an_empty_file_is_a_file(gateway: Gateway, mirror: Elsewhere) -> None:
    mirror.whole = mirror.given = b""
    async with ask(gateway) as answer:
        assert (answer.status, await answer.read(), answer.headers["Content-Length"]) == (200, b"", "0")
