"""What a real Gerrit answers, and what is made of servers that answer otherwise."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from boxes.gerrit import Gerrit
from tests.integration.gerrit.conftest import Inside, MakeSite, make_project
from tests.web_server import serving

from airlock.core.errors import AirlockError, StateError, UpstreamError, UsageError
from airlock.core.gerrit_settings import GerritPlace
from airlock.gerrit import client as client_module
from airlock.gerrit.client import GerritClient
from airlock.site import probes
from airlock.site.doctor import configured_gerrit, examine


@pytest.fixture
def place(make: MakeSite) -> GerritPlace:
    found = make("client").gerrit
    assert found is not None
    return found


async def test_what_is_there_is_found_and_what_is_not_is_none(gerrit: Gerrit, place):
    make_project(gerrit, "client/there")
    inside = Inside(gerrit.site / "git/client/there.git")
    head = inside("rev-parse", "main")
    inside("tag", "v/1", head)
    async with GerritClient(place) as client:
        assert await client.version() == "3.13.5"
        assert await client.account() == "airlock"
        assert await client.may_create_projects()
        assert await client.has_project("client/there")
        assert not await client.has_project("client/nothing")
        assert await client.branch("client/there", "main") == head
        assert await client.branch("client/there", "bundle/none-r1") is None
        assert await client.branch("client/nothing", "main") is None
        assert await client.branches_with("client/there", head) == ["main"]
        assert await client.tags("client/there") == {"refs/tags/v/1": head}
        await client.create_project("client/made", "trunk")
        assert Inside(gerrit.site / "git/client/made.git")("symbolic-ref", "HEAD") == "refs/heads/trunk"
        with pytest.raises(StateError, match=r"409: .*already exists"):
            await client.create_project("client/made", "trunk")
        with pytest.raises(StateError, match="404"):
            await client.tags("client/nothing")


async def test_who_may_not_make_projects_is_told(gerrit: Gerrit, make: MakeSite):
    site = make("client", login=gerrit.access.reviewer)
    assert site.gerrit is not None
    async with GerritClient(site.gerrit) as client:
        assert not await client.may_create_projects()
        with pytest.raises(UsageError, match=r"does not let user reviewer do this \(403: create project not permitted"):
            await client.create_project("client/forbidden", "main")


def test_doctor_looks_at_the_gerrit_that_site_toml_names(gerrit: Gerrit, make: MakeSite, tmp_path: Path):
    folder = make("doctor").root
    (check,) = [one for one in examine(["site"], folder, (), gerrit=configured_gerrit(folder)) if one.name == "Gerrit"]
    assert check.state == "ok"
    assert "takes the password of airlock, who may make projects" in check.found
    less, down = (
        make("doctor", login=gerrit.access.reviewer).gerrit,
        make("doctor", address="http://127.0.0.1:9").gerrit,
    )
    assert less is not None
    assert down is not None
    assert "may not make projects, so those of a bundle must be there" in probes.gerrit(less)
    with pytest.raises(probes.LackingError, match="cannot be reached"):
        probes.gerrit(down)
    assert configured_gerrit(tmp_path) is None


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[str]:
    """A server that gives everybody one answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *rest: object) -> None:
            pass

    with serving(Handler) as address:
        yield address


@pytest.mark.parametrize(
    ("status", "body", "kind", "says"),
    [
        (200, b"<html>It works!</html>", UsageError, "does not answer as Gerrit does (no answer of its REST API)"),
        (200, b")]}'\n<html>", UsageError, "does not answer as Gerrit does (JSON is malformed"),
        (200, b")]}'\n[1]", UsageError, "does not answer as Gerrit does"),
        (200, b")]}'\n" + b"[" * 100_000, UsageError, "does not answer as Gerrit does"),
        (302, b"", UsageError, "it sends elsewhere"),
        (401, b"Unauthorized", UsageError, "does not take the password of user airlock"),
        (403, b"not you\x1b[2J\nmore", UsageError, "(403: not you[2J)"),
        (404, b"Not Found", UsageError, "does not answer as Gerrit does (404)"),
        (500, b"<html>oh</html>", UpstreamError, "answers 500: ask who this is"),
        (503, b"in maintenance", UpstreamError, "answers 503: in maintenance"),
    ],
)
async def test_every_other_answer_is_one_clear_error(tmp_path, status, body, kind, says):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    with answering(status, body, Location="http://127.0.0.1:9/") as address:
        async with GerritClient(GerritPlace(address, "airlock", secret, {})) as client:
            with pytest.raises(AirlockError) as caught:
                await client.account()
    assert type(caught.value) is kind
    assert says in caught.value.message
    assert caught.value.remedy
    assert "s3cret" not in caught.value.message + caught.value.remedy


async def test_an_answer_has_a_bound(tmp_path, place: GerritPlace, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_ANSWER", 1000)
    with answering(200, b")]}'\n" + b" " * 2000) as address:
        async with GerritClient(msgspec.structs.replace(place, address=address)) as client:
            with pytest.raises(UsageError, match="more than"):
                await client.account()


async def test_a_server_that_says_nothing_is_not_waited_for(place: GerritPlace, monkeypatch):
    monkeypatch.setattr(client_module, "ANSWER", 0.3)
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as silent:
        address = f"http://127.0.0.1:{silent.server_port}"
        async with GerritClient(msgspec.structs.replace(place, address=address)) as client:
            with pytest.raises(UpstreamError, match="nothing arrived for too long"):
                await client.account()
