"""The witness: what clients get through it, what is recorded, and that replay answers the same offline."""

from __future__ import annotations

import asyncio
import fcntl
import json
import random
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest
from uv import find_uv_bin

from airlock.core.digest import sha256_bytes
from airlock.core.errors import FormatError, GoneError, IntegrityError, UpstreamError, UsageError
from airlock.core.settings import FetchTable
from airlock.fetch.transcript import kept
from airlock.fetch.upstreams import python_index
from airlock.fetch.witness import Witness
from airlock.store.pool import Pool

QUICK = FetchTable(connections=4, retries=2, timeout=0.5)
BIG = random.Random(1).randbytes(400_000)
JSON = "application/vnd.pypi.simple.v1+json"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def page(stand, name: str, files: dict[str, bytes], *, metadata: dict[str, bytes] | None = None) -> None:
    """Give the stand-in a project."""
    listed = []
    for file, data in files.items():
        stand.files[f"/packages/{file}"] = data
        entry = {"filename": file, "url": f"../../packages/{file}", "hashes": {"sha256": sha256_bytes(data)}}
        entry |= {"size": len(data), "requires-python": ">=3.8", "yanked": False}
        if metadata and file in metadata:
            stand.files[f"/packages/{file}.metadata"] = metadata[file]
            entry["core-metadata"] = {"sha256": sha256_bytes(metadata[file])}
        listed.append(entry)
    stand.files[f"/simple/{name}/"] = json.dumps(
        {"meta": {"api-version": "1.1"}, "name": name, "files": listed}
    ).encode()
    stand.types[f"/simple/{name}/"] = JSON


async def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes, dict[str, str]]:
    async with aiohttp.ClientSession() as client, client.request(method, url, headers=headers) as answer:
        return answer.status, await answer.read(), dict(answer.headers)


async def test_every_answer_is_recorded_and_replayed_without_the_upstream(stand, pool):
    stand.files = {"/debian/dists/x/Release": b"release", "/debian/dists/x/Packages.xz": BIG}
    page(stand, "demo", {"demo-1.0.tar.gz": b"sdist"})
    upstreams = {"debian": stand.url + "/debian", "pypi": stand.url + "/simple"}
    paths = [
        "debian/dists/x/Release",
        "debian/dists/x/Packages.xz",
        "debian/dists/x/None",
        "pypi/files/demo/demo-1.0.tar.gz",
    ]
    async with Witness.record(pool, upstreams, QUICK) as witness:
        before = [await ask(f"http://127.0.0.1:{witness.port}/{path}") for path in paths]
        listed = await witness.project("pypi", "Demo")
        witness.keep("derived/thing", b"kept")
        transcript = witness.transcript()
    assert [(status, body) for status, body, _ in before[:2]] == [(200, b"release"), (200, BIG)]
    assert before[2][0] == 404
    assert before[3][1] == b"sdist"
    asked = len(stand.requests)
    name = pool.add_bytes(transcript)
    async with Witness.replay(pool, name) as witness:
        after = [await ask(f"http://127.0.0.1:{witness.port}/{path}") for path in paths]
        assert [(status, body) for status, body, _ in after[:2]] == [(200, b"release"), (200, BIG)]
        assert after[2][0] == 404
        assert after[3][1] == b"sdist"
        again = await witness.project("pypi", "demo")
        assert [(file.filename, file.sha256, file.size) for file in again] == [
            (file.filename, file.sha256, file.size) for file in listed
        ]
        assert witness.kept("derived/thing") == b"kept" == kept(pool, name, "derived/thing")
        assert witness.unanswered == []
        assert witness.transcript() == transcript
        assert (await ask(witness.url("debian") + "/dists/y/Release"))[0] == 404
        with pytest.raises(GoneError, match="not among"):
            await witness.get("debian", "dists/z/Release")
        assert witness.unanswered == ["debian/dists/y/Release", "debian/dists/z/Release"]
    assert len(stand.requests) == asked


async def test_the_transcript_has_no_host_no_date_and_one_order(stand, other_stand, tmp_path):
    transcripts = []
    for number, server in enumerate((stand, other_stand)):
        page(server, "demo", {"demo-1.0.tar.gz": b"sdist"})
        server.files |= {"/debian/a": b"a", "/debian/b": b"b"}
        upstreams = {"debian": server.url + "/debian", "pypi": server.url + "/simple"}
        async with Witness.record(Pool(tmp_path / str(number)), upstreams, QUICK) as witness:
            for path in ("a", "b") if number else ("b", "a"):
                await witness.get("debian", path)
            await witness.project_file("pypi", "demo", "demo-1.0.tar.gz", sha256_bytes(b"sdist"))
            transcripts.append(witness.transcript())
    assert transcripts[0] == transcripts[1]
    lines = [json.loads(line) for line in transcripts[0].splitlines()]
    assert [(line["upstream"], line["path"]) for line in lines] == [
        ("debian", "a"),
        ("debian", "b"),
        ("pypi", "demo/"),
        ("pypi", "files/demo/demo-1.0.tar.gz"),
    ]
    assert b"127.0.0.1" not in transcripts[0]


async def test_large_answers_are_passed_on_while_they_arrive(stand, pool):
    stand.files["/big"] = BIG
    stand.hold["/big"] = asyncio.Event()
    async with (
        asyncio.timeout(20),
        Witness.record(pool, {"x": stand.url}, FetchTable()) as witness,
        aiohttp.ClientSession() as client,
        client.get(witness.url("x") + "/big") as answer,
    ):
        first = await answer.content.readexactly(100_000)  # while the upstream still holds back the rest
        assert not stand.hold["/big"].is_set()
        stand.hold["/big"].set()
        assert first + await answer.read() == BIG


async def test_many_clients_asking_at_once_cost_one_request(stand, pool):
    stand.files["/big"], stand.pace = BIG, 0.002
    async with Witness.record(pool, {"x": stand.url}, QUICK) as witness:
        answers = await asyncio.gather(*(ask(witness.url("x") + "/big") for _ in range(10)))
    assert all(body == BIG for _, body, _ in answers)
    assert len(stand.requests) == 1


@pytest.mark.parametrize("fault", ["cut:200000", "reset:100000", "stall:150000"])
async def test_a_break_is_mended_behind_the_clients_back(stand, pool, fault):
    stand.files["/big"] = BIG
    stand.faults["/big"] = [fault, "503"]
    async with Witness.record(pool, {"x": stand.url}, QUICK) as witness:
        assert (await ask(witness.url("x") + "/big"))[:2] == (200, BIG)
        assert witness.failures == []
    assert stand.asked("/big")[2].startswith("bytes=")


async def test_where_upstream_cannot_resume_the_client_is_cut_off_and_gets_it_whole_the_next_time(stand, pool):
    stand.files["/big"], stand.ranges = BIG, False
    stand.faults["/big"] = ["cut:200000"]
    async with Witness.record(pool, {"x": stand.url}, QUICK) as witness:
        with pytest.raises(aiohttp.ClientError):
            await ask(witness.url("x") + "/big")
        assert (await ask(witness.url("x") + "/big"))[:2] == (200, BIG)
    assert len(stand.requests) == 2


async def test_an_upstream_that_is_down_is_said_and_not_recorded(stand, pool, dead_url):
    async with Witness.record(pool, {"x": dead_url, "y": stand.url}, QUICK) as witness:
        stand.always["/a"] = "503"
        for path in ("x/a", "y/a"):
            status, text, _ = await ask(f"http://127.0.0.1:{witness.port}/{path}")
            assert status == 502
            assert b"cannot be fetched, tried 3 times" in text
        with pytest.raises(UpstreamError, match="tried 3 times"):
            await witness.get("y", "a")
        assert len(witness.failures) == 3
        assert witness.transcript() == b""
        stand.always.clear()
        stand.files["/a"] = b"back"
        assert await witness.get("y", "a") == b"back"


async def test_an_unknown_upstream_is_not_guessed(pool):
    async with Witness.record(pool, {}, QUICK) as witness:
        assert (await ask(f"http://127.0.0.1:{witness.port}/nowhere/a"))[0] == 404
        with pytest.raises(UsageError, match="no address"):
            await witness.get("nowhere", "a")


async def test_upstreams_can_be_made_known_later(stand, pool):
    stand.files["/a"] = b"a"
    async with Witness.record(pool, {}, QUICK) as witness:
        witness.add_upstream("late", stand.url)
        assert await witness.get("late", "a") == b"a"
        with pytest.raises(GoneError):
            await witness.get("late", "b")


async def test_names_with_special_characters_reach_the_upstream_as_they_are(stand, pool):
    stand.files["/pool/libstdc++6_1%3a2~3.deb"] = b"never"
    stand.files["/pool/libstdc++6_1:2~3.deb"] = b"deb"
    async with Witness.record(pool, {"x": stand.url}, QUICK) as witness:
        assert await witness.get("x", "pool/libstdc++6_1:2~3.deb") == b"deb"
        assert (await ask(witness.url("x") + "/pool/libstdc%2b%2b6_1%3a2%7e3.deb"))[1] == b"deb"
    assert len(stand.requests) == 1


async def test_head_ranges_and_conditions_are_answered_from_the_record(stand, pool):
    stand.files["/big"] = BIG
    async with Witness.record(pool, {"x": stand.url}, QUICK) as witness:
        url = witness.url("x") + "/big"
        status, body, headers = await ask(url, "HEAD")
        assert (status, body, headers["Content-Length"], headers["Accept-Ranges"]) == (200, b"", "400000", "bytes")
        assert (await ask(url, Range="bytes=10-19"))[:2] == (206, BIG[10:20])
        assert (await ask(url, Range="bytes=-5"))[:2] == (206, BIG[-5:])
        assert (await ask(url, Range="bytes=399990-"))[:2] == (206, BIG[-10:])
        assert (await ask(url, Range="bytes=400000-"))[0] == 416
        assert (await ask(url, **{"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}))[:2] == (200, BIG)
    assert len(stand.requests) == 1


async def test_pages_lead_clients_to_the_relay_in_json_whatever_upstream_speaks(stand, pool):
    digest = sha256_bytes(b"wheel")
    link = f"../../packages/demo-1.0-py3-none-any.whl#sha256={digest}"
    html = f'<html><a href="{link}" data-requires-python="&gt;=3.8" data-yanked="bad">x</a></html>'
    stand.files |= {"/simple/demo/": html.encode(), "/packages/demo-1.0-py3-none-any.whl": b"wheel"}
    stand.types["/simple/demo/"] = "text/html; charset=utf-8"
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        status, body, headers = await ask(witness.url("pypi") + "/demo/", Accept="text/html")
        assert (status, headers["Content-Type"]) == (200, JSON)
        [file] = json.loads(body)["files"]
        assert file["url"] == witness.url("pypi") + "/files/demo/demo-1.0-py3-none-any.whl"
        assert file["hashes"] == {"sha256": digest}
        assert (await ask(file["url"], Range="bytes=1-2"))[:2] == (206, b"he")
        assert await witness.get("pypi", "demo/") == html.encode()
        [listed] = await witness.project("pypi", "demo")
        assert (listed.requires_python, listed.yanked, listed.size) == (">=3.8", True, 0)
        assert listed.url == stand.url + "/packages/demo-1.0-py3-none-any.whl"


async def test_metadata_is_fetched_where_the_page_offers_it_and_absent_where_not(stand, pool):
    page(
        stand,
        "demo",
        {"a-1-py3-none-any.whl": b"A", "b-1-py3-none-any.whl": b"B"},
        metadata={"a-1-py3-none-any.whl": b"M"},
    )
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        files = witness.url("pypi") + "/files/demo"
        assert (await ask(f"{files}/a-1-py3-none-any.whl.metadata"))[:2] == (200, b"M")
        assert (await ask(f"{files}/b-1-py3-none-any.whl.metadata"))[0] == 404
        assert (await ask(f"{files}/c-1-py3-none-any.whl"))[0] == 404
    assert not stand.asked("/packages/a-1-py3-none-any.whl")


async def test_a_file_other_than_its_page_declares_is_refused(stand, pool):
    page(stand, "demo", {"demo-1.0.tar.gz": BIG})
    stand.always["/packages/demo-1.0.tar.gz"] = "other"
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        assert (await ask(witness.url("pypi") + "/files/demo/demo-1.0.tar.gz"))[0] == 502
        with pytest.raises(IntegrityError, match="other bytes"):
            await witness.project_file("pypi", "demo", "demo-1.0.tar.gz", "")
        assert b"demo-1.0.tar.gz" not in witness.transcript()
    assert not pool.has(sha256_bytes(BIG))


async def test_a_file_that_the_pool_has_is_recorded_without_being_fetched(stand, pool):
    page(stand, "demo", {"demo-1.0.tar.gz": BIG})
    pool.add_bytes(BIG)
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        place = await witness.project_file("pypi", "demo", "demo-1.0.tar.gz", sha256_bytes(BIG))
        assert place.read_bytes() == BIG
        assert b"files/demo/demo-1.0.tar.gz" in witness.transcript()
    assert not stand.asked("/packages/demo-1.0.tar.gz")


async def test_what_is_no_simple_page_says_so(stand, pool):
    stand.files["/simple/demo/"] = b"{}"
    stand.types["/simple/demo/"] = "application/json"
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        with pytest.raises(FormatError, match="no simple page"):
            await witness.project("pypi", "demo")
        assert (await ask(witness.url("pypi") + "/demo/"))[0] == 502
        with pytest.raises(GoneError, match="no project"):
            await witness.project("pypi", "missing")


async def test_sandboxes_reach_it_by_a_unix_socket(stand, pool, tmp_path):
    stand.files["/a"] = b"a"
    socket = tmp_path / "s"
    async with Witness.record(pool, {"x": stand.url}, QUICK, socket=socket) as witness:
        connector = aiohttp.UnixConnector(path=str(socket))
        async with aiohttp.ClientSession(connector=connector) as client, client.get(witness.url("x") + "/a") as answer:
            assert await answer.read() == b"a"
    assert not socket.exists()


async def test_a_caller_that_blocks_is_served_all_the_same(stand, pool, tmp_path):
    """apt and uv are run and waited for without giving the caller's loop a chance."""
    page(stand, "demo", {"demo-1.0.tar.gz": b"sdist"})
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        await witness.project("pypi", "demo")  # the stand-in lives in the caller's loop and cannot answer meanwhile
        command = ["curl", "-sSf", "--max-time", "5", witness.url("pypi") + "/demo/"]
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)  # noqa: ASYNC221
    assert done.returncode == 0
    assert b"demo-1.0.tar.gz" in done.stdout


async def test_leftovers_of_a_killed_run_are_removed_and_those_of_a_running_one_are_not(stand, pool):
    incoming = pool.root / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "dead.part").write_bytes(b"x")
    with (incoming / "live.part").open("wb") as live:
        fcntl.flock(live, fcntl.LOCK_EX)
        async with Witness.record(pool, {"x": stand.url}, QUICK):
            assert [path.name for path in incoming.iterdir()] == ["live.part"]


async def test_a_damaged_pool_does_not_answer_with_damaged_pages(stand, pool):
    page(stand, "demo", {"demo-1.0.tar.gz": b"sdist"})
    async with Witness.record(pool, {"pypi": stand.url + "/simple"}, QUICK) as witness:
        await witness.project("pypi", "demo")
        name = pool.add_bytes(witness.transcript())
    pool.path(sha256_bytes(stand.files["/simple/demo/"])).write_bytes(b"{}")
    async with Witness.replay(pool, name) as witness:
        with pytest.raises(IntegrityError, match="has changed"):
            await witness.project("pypi", "demo")


def debian() -> str:
    """Debian's archive as this machine's apt has it."""
    for place in sorted(Path("/etc/apt").glob("sources.list*")):
        for file in [place] if place.is_file() else sorted(place.iterdir()):
            if found := re.search(r"^(?:URIs:|deb)\s.*?(https?://\S+/debian)/?(?:\s|$)", file.read_text(), re.M):
                return found[1]
    pytest.skip("this machine's apt names no archive of Debian")


def apt_update(folder: Path, address: str) -> dict[str, str]:
    for name in ("lists/partial", "cache", "etc/parts"):
        (folder / name).mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "etc/sources.list").write_text(f"deb [signed-by={keyring}] {address} bookworm-updates main\n")
    (folder / "status").touch()
    (folder / "apt.conf").write_text(
        f'Dir::State "{folder}"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache"; '
        f'Dir::Etc "{folder}/etc"; Dir::Etc::parts "parts"; Acquire::Languages "none"; APT::Sandbox::User "root";'
    )
    environment = {"APT_CONFIG": str(folder / "apt.conf"), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    subprocess.run(["apt-get", "-qq", "update"], env=environment, check=True, capture_output=True, timeout=120)
    files = (path for path in (folder / "lists").iterdir() if path.is_file() and path.name != "lock")
    return {path.name.partition("_dists_")[2]: sha256_bytes(path.read_bytes()) for path in files}


def uv_compile(folder: Path, address: str) -> bytes:
    folder.mkdir()
    (folder / "in").write_text("pbr\nclick\n")
    uv = find_uv_bin()
    command = [uv, "pip", "compile", "-q", "--no-cache", "--no-header", "--generate-hashes", "--no-annotate"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    arguments = [*command, "--default-index", address, "--python-version", "3.11", "in"]
    return subprocess.run(arguments, cwd=folder, env=environment, check=True, capture_output=True, timeout=120).stdout


async def test_real_apt_and_uv_get_the_same_from_the_replay(pool, tmp_path):
    upstreams = {"debian": debian(), "pypi": python_index()}
    async with Witness.record(pool, upstreams, FetchTable()) as witness:
        lists = apt_update(tmp_path / "apt1", witness.url("debian"))
        pins = uv_compile(tmp_path / "uv1", witness.url("pypi"))
        transcript = witness.transcript()
    assert any("Packages" in name for name in lists)
    assert b"setuptools==" in pins
    async with Witness.replay(pool, pool.add_bytes(transcript)) as witness:
        assert apt_update(tmp_path / "apt2", witness.url("debian")) == lists
        assert uv_compile(tmp_path / "uv2", witness.url("pypi")) == pins
        assert witness.unanswered == []


async def test_uv_asks_a_witness_once_and_then_answers_itself(pool, tmp_path):
    def compile_with_cache(address: str) -> bytes:
        command = [find_uv_bin(), "pip", "compile", "-q", "--cache-dir", str(tmp_path / "cache"), "--no-header"]
        arguments = [*command, "--default-index", address, "--python-version", "3.11", "in"]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(arguments, cwd=tmp_path, env=environment, check=True, capture_output=True).stdout

    (tmp_path / "in").write_text("click\n")
    async with Witness.record(pool, {"pypi": python_index()}, FetchTable()) as witness:
        address = witness.url("pypi")
        pins = compile_with_cache(address)
    assert b"click==" in pins
    assert compile_with_cache(address) == pins, "the witness is gone, and was asked again"
