"""Finding and following a build while Zuul is slow, drops it, or is away: a stand-in for zuul-web answers in turn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from airlock.core.errors import BuildError, StateError, UpstreamError, UsageError
from airlock.core.progress import SilentReporter
from airlock.zuul import follow as following
from airlock.zuul.client import ZuulClient
from airlock.zuul.follow import find, follow
from airlock.zuul.order import PARAMETER

KOLLA, REF, COMMIT, JOB = "openstack/kolla", "refs/heads/x", "c" * 40, "kolla-build-full"
Answer = Callable[[str], Any]
ITEM = {"live": True, "refs": [{"project": KOLLA, "ref": REF, "id": COMMIT}], "jobs": []}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("INTERVAL", 0.01), ("APPEARS", 0.3), ("PATIENCE", 0.3)):
        monkeypatch.setattr(following, name, seconds)


class Says(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text.strip().split("  ", 1)[-1])


@asynccontextmanager
async def zuul(answer: Answer) -> AsyncIterator[ZuulClient]:
    """A client of a stand-in: what is below ``/api/tenant/t/`` → its document, or an HTTP status."""

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer the-token"
        found = answer(request.path.removeprefix("/api/tenant/t/"))
        return web.Response(status=found) if isinstance(found, int) else web.json_response(found)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with ZuulClient(f"http://127.0.0.1:{port}/", "t", "the-token") as client:
            yield client
    finally:
        await runner.cleanup()


def pipelines(*items: dict[str, Any]) -> dict[str, Any]:
    return {"pipelines": [{"name": "build", "change_queues": [{"heads": [[item]]} for item in items]}]}


async def test_an_order_is_found_once_zuul_has_written_it_down_however_long_it_takes_to_put_it_together() -> None:
    asked = []

    def answer(path: str) -> Any:
        asked.append(path)
        if path == "buildsets":
            others = [{"uuid": "s0", "parameters": {PARAMETER: "another"}}, {"uuid": "s9", "parameters": None}]
            if len(asked) in (7, 9):
                return 502
            return others + ([{"uuid": "s1", "parameters": {PARAMETER: "ours"}}] if len(asked) > 150 else [])
        return pipelines(ITEM | {"zuul_ref": None}) if path == "status" else 404

    async with zuul(answer) as client:
        assert await find(client, KOLLA, "build", REF, COMMIT, "ours") == "s1"


async def test_an_order_that_zuul_dropped_for_another_of_the_same_commit_names_that_one() -> None:
    def answer(path: str) -> Any:
        there = {"uuid": "s0", "parameters": {PARAMETER: "another"}}
        return {"buildsets": [there], "status": pipelines(ITEM | {"zuul_ref": "Zs0"}), "buildset/s0": there}[path]

    async with zuul(answer) as client:
        with pytest.raises(StateError, match="Zuul dropped the build of .*/t/t/buildset/s0"):
            await find(client, KOLLA, "build", REF, COMMIT, "ours")


async def test_an_order_of_which_nothing_is_heard_is_told_as_zuuls_fault() -> None:
    async with zuul(lambda path: [] if path == "buildsets" else pipelines()) as client:
        with pytest.raises(UpstreamError, match="no build came of it"):
            await find(client, KOLLA, "build", REF, COMMIT, "ours")


async def test_a_zuul_that_is_away_for_a_moment_does_not_end_the_following_and_each_state_is_said_once() -> None:
    job = {"name": JOB, "waiting_status": "nodeset request: n1"}
    answers: list[Any] = [
        *[pipelines(ITEM | {"zuul_ref": "Zs1", "jobs": [job]})] * 3, 502, 502,
        *[pipelines(ITEM | {"zuul_ref": "Zs1", "jobs": [job | {"start_time": 1.0, "uuid": "b1"}]})] * 3,
        pipelines(),
    ]  # fmt: skip

    def answer(path: str) -> Any:
        if path == "status":
            return answers.pop(0)
        build = {"uuid": "b1", "job_name": JOB, "result": None, "final": None, "artifacts": None}
        ended = {"result": "SUCCESS", "builds": [build | {"result": "SUCCESS", "final": True, "artifacts": []}]}
        return {"uuid": "s1", "pipeline": "build", "result": None, "builds": [build]} | ({} if answers else ended)

    says = Says()
    async with zuul(answer) as client:
        outcome = await follow(client, "s1", JOB, 60, says)
    assert (outcome.result, outcome.build) == ("SUCCESS", "b1")
    assert says.lines == [
        "it waits: no node is free for it yet (nodeset request: n1)",
        "Zuul cannot be reached",
        "it runs as build b1",
        "it is in no pipeline any more; Zuul writes down how it ended",
    ]


async def test_a_zuul_that_stays_away_ends_the_following() -> None:
    async with zuul(lambda path: 503) as client:
        with pytest.raises(UpstreamError, match="answers 503"):
            await follow(client, "s1", JOB, 60, SilentReporter())


async def test_what_zuul_no_longer_lets_us_see_ends_it_at_once() -> None:
    async with zuul(lambda path: 401) as client:
        with pytest.raises(UsageError, match="does not know the token"):
            await follow(client, "s1", JOB, 60, SilentReporter())


async def test_what_is_no_zuul_is_told_as_such() -> None:
    for found in (404, "words", [{"no": "uuid"}]):
        async with zuul(lambda path, found=found: found) as client:  # type: ignore[misc]
            with pytest.raises(UsageError, match="as Zuul does"):
                await client.buildsets(KOLLA, "build")


async def test_beyond_its_time_the_build_goes_on_and_the_message_says_how() -> None:
    def answer(path: str) -> Any:
        return pipelines() if path == "status" else {"uuid": "s1", "pipeline": "build"}

    async with zuul(answer) as client:
        with pytest.raises(BuildError, match="has not ended in 0 s") as caught:
            await follow(client, "s1", JOB, 0.05, SilentReporter())
    assert "airlock trigger cancel --buildset s1" in caught.value.remedy
