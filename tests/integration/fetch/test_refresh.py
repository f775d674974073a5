"""refresh: from a lock to a whole pool, through a kill in the middle and upstreams that have moved on."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.errors import GoneError, IncompleteError, IntegrityError, UpstreamError, UsageError
from airlock.core.progress import SilentReporter
from airlock.core.settings import Factory, FactoryFile, FetchTable, UpstreamTable
from airlock.fetch.upstreams import KEPT
from airlock.fetch.witness import Witness
from airlock.lock.indexes import STANZAS, AptIndexes, build_indexes
from airlock.lock.model import Artifact, Lock, make_lock
from airlock.lock.refresh import RefreshResult
from airlock.lock.refresh import refresh as run_refresh
from airlock.store.pool import Pool

QUICK = FetchTable(connections=4, retries=1, timeout=0.5)
JSON = "application/vnd.pypi.simple.v1+json"


def body(seed: int, size: int = 100_000) -> bytes:
    return random.Random(seed).randbytes(size)


def artifact(kind: str, file: str, data: bytes, upstream: str, path: str, **changes: Any) -> Artifact:
    values = {"kind": kind, "name": file.partition("_")[0].partition("-")[0], "version": "1", "arch": "any"}
    values |= {"id": f"{kind}/{file}", "file": file, "sha256": sha256_bytes(data), "size": len(data)}
    return Artifact(**{**values, "upstream": upstream, "path": path, "trust": "signed-index", **changes})


def stanza(deb: Artifact) -> str:
    """What an archive's index says of a package."""
    return (
        f"Package: {deb.name}\nVersion: {deb.version}\nArchitecture: {deb.arch}\n"
        f"Size: {deb.size}\nSHA256: {deb.sha256}\n"
    )


def serve_project(stand: Any, name: str, files: dict[str, bytes], folder: str = "packages") -> None:
    listed = []
    for file, data in files.items():
        stand.files[f"/{folder}/{file}"] = data
        url = f"{stand.url}/{folder}/{file}"
        listed.append({"filename": file, "url": url, "hashes": {"sha256": sha256_bytes(data)}, "size": len(data)})
    page = {"meta": {"api-version": "1.1"}, "name": name, "files": listed}
    stand.files[f"/simple/{name}/"] = json.dumps(page).encode()
    stand.types[f"/simple/{name}/"] = JSON


def locked(witness: str, *artifacts: Artifact) -> Lock:
    return make_lock(
        release="demo", definition="0" * 64, kolla={}, witness=witness, requires={}, images=[], demands=[],
        artifacts=artifacts,
    )  # fmt: skip


class Case:
    """A factory, a lock of a deb, a wheel and a source archive, and the transcript it was made with."""

    def __init__(self, stand: Any, root: Path) -> None:
        self.stand = stand
        self.root = root
        self.pool = Pool(root / "pool")
        self.deb, self.wheel, self.source = body(1), body(2), body(3)
        stand.files |= {"/debian/pool/d/demo_1+b1_all.deb": self.deb, "/tarballs/demo/demo-1.tar.gz": self.source}
        serve_project(stand, "demo", {"demo-1-py3-none-any.whl": self.wheel})
        self.artifacts = [
            artifact("deb", "demo_1+b1_all.deb", self.deb, "debian", "pool/d/demo_1+b1_all.deb"),
            artifact("wheel", "demo-1-py3-none-any.whl", self.wheel, "pypi", "demo/demo-1-py3-none-any.whl"),
            artifact("source", "demo-1.tar.gz", self.source, "opendev", "demo/demo-1.tar.gz"),
        ]
        self.settings = FactoryFile(fetch=QUICK)
        self.defaults = {"debian": stand.url + "/debian", "opendev": stand.url + "/tarballs"}
        self.witness = "0" * 64

    async def witnessed(self, *more: Artifact) -> None:
        """Do what `lock` does: see the page, keep the addresses and what the archive's index says of each .deb. The
        package index is found by pip's configuration.
        """
        stanzas = {one.id: stanza(one) for one in (*self.artifacts, *more) if one.kind == "deb"}
        async with Witness.record(self.pool, {"pypi": self.stand.url + "/simple"}, QUICK) as witness:
            await witness.project("pypi", "demo")
            witness.keep(KEPT, canonical(self.defaults))
            witness.keep(STANZAS, canonical(AptIndexes(stanzas, {}, [])))
            self.witness = self.pool.add_bytes(witness.transcript())
        self.stand.requests.clear()

    async def refresh(self, *more: Artifact, defaults: dict[str, str] | None = None) -> RefreshResult:
        lock = locked(self.witness, *self.artifacts, *more)
        return await run_refresh(lock, Factory(self.root, self.settings), defaults or {}, SilentReporter())

    def whole(self) -> bool:
        return all(self.pool.check(one.sha256, one.size) == "" for one in self.artifacts)


@pytest.fixture
async def case(stand, tmp_path, monkeypatch) -> Case:
    for variable in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("UV_DEFAULT_INDEX", stand.url + "/simple/")
    made = Case(stand, tmp_path / "factory")
    await made.witnessed()
    return made


async def test_everything_locked_is_fetched_once_with_no_page_asked_for(case):
    result = await case.refresh()
    assert (result.fetched, result.present, result.bytes) == (3, 0, 300_000)
    assert case.whole()
    assert not [path for path, _ in case.stand.requests if path.startswith("/simple")]
    again = await case.refresh()
    assert (again.fetched, again.present, again.bytes) == (0, 3, 0)
    assert len(case.stand.requests) == 3


async def test_a_pool_that_did_not_see_the_locking_asks_the_index_and_takes_given_addresses(case):
    case.witness = "1" * 64
    result = await case.refresh(defaults=case.defaults)
    assert result.fetched == 3
    assert case.whole()
    assert case.stand.asked("/simple/demo/") == [""]


async def test_a_mirror_in_the_settings_takes_the_place_of_every_upstream(case, other_stand):
    mirror = Case(other_stand, case.root)
    table = {name: f"{other_stand.url}/{name}" for name in ("debian", "opendev")} | {
        "pypi": other_stand.url + "/simple"
    }
    other_stand.files |= {"/debian/pool/d/demo_1+b1_all.deb": case.deb, "/opendev/demo/demo-1.tar.gz": case.source}
    case.settings = FactoryFile(
        fetch=QUICK, upstreams={name: UpstreamTable(address=url) for name, url in table.items()}
    )
    assert (await case.refresh()).fetched == 3
    assert mirror.whole()
    assert not case.stand.requests


async def test_a_file_that_moved_since_is_found_by_asking_the_index_again(case):
    del case.stand.files["/packages/demo-1-py3-none-any.whl"]
    serve_project(case.stand, "demo", {"demo-1-py3-none-any.whl": case.wheel}, folder="elsewhere")
    assert (await case.refresh()).fetched == 3
    assert case.whole()


async def test_a_file_gone_from_its_index_is_gone_and_everything_else_arrives(case):
    del case.stand.files["/packages/demo-1-py3-none-any.whl"]
    serve_project(case.stand, "demo", {})
    with pytest.raises(GoneError, match=r"wheel/demo-1-py3-none-any\.whl") as raised:
        await case.refresh()
    assert "run `airlock lock --update`" in raised.value.remedy
    assert all(case.pool.has(one.sha256) for one in case.artifacts if one.kind != "wheel")


async def test_a_deb_gone_from_its_archive_is_gone(case):
    del case.stand.files["/debian/pool/d/demo_1+b1_all.deb"]
    with pytest.raises(GoneError, match=r"deb/demo_1\+b1_all\.deb"):
        await case.refresh()
    assert case.pool.has(sha256_bytes(case.wheel))


async def test_an_index_that_declares_another_hash_now_is_not_believed(case):
    case.witness = "1" * 64
    serve_project(case.stand, "demo", {"demo-1-py3-none-any.whl": body(9)})
    with pytest.raises(IntegrityError, match="its index declares"):
        await case.refresh(defaults=case.defaults)
    assert not case.stand.asked("/packages/demo-1-py3-none-any.whl")


async def test_wrong_bytes_are_refused_and_the_rest_arrives(case):
    case.stand.always["/debian/pool/d/demo_1+b1_all.deb"] = "other"
    with pytest.raises(IntegrityError, match=r"deb/demo_1\+b1_all\.deb"):
        await case.refresh()
    assert [case.pool.has(one.sha256) for one in case.artifacts] == [False, True, True]


async def test_an_index_that_is_down_names_itself_and_the_rest_arrives(case, dead_url):
    case.settings = FactoryFile(fetch=QUICK, upstreams={"pypi": UpstreamTable(address=dead_url)})
    with pytest.raises(UpstreamError, match="pypi"):
        await case.refresh()
    assert [case.pool.has(one.sha256) for one in case.artifacts] == [True, False, True]


async def test_an_upstream_without_an_address_says_where_to_write_it(case):
    strange = artifact("deb", "x_1_all.deb", b"x", "vendor", "pool/x.deb")
    with pytest.raises(UsageError, match="vendor") as raised:
        await case.refresh(strange)
    assert "[upstreams.vendor]" in raised.value.remedy
    assert case.whole()


async def test_a_file_made_while_locking_must_be_there(case):
    made = artifact("source", "requirements.tar.gz", b"made", "airlock", "requirements.tar.gz", trust="made")
    with pytest.raises(IncompleteError, match=r"requirements\.tar\.gz") as raised:
        await case.refresh(made)
    assert "airlock lock" in raised.value.remedy
    assert case.whole()
    case.pool.add_bytes(b"made")
    assert (await case.refresh(made)).present == 4


async def test_a_damaged_transcript_is_said(case):
    case.pool.path(case.witness).write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        await case.refresh()


COMMAND = """
import sys, typer
from airlock.cli.refresh import refresh
app = typer.Typer()
app.command()(refresh)
app()
"""


async def command(case: Case, folder: Path) -> asyncio.subprocess.Process:
    """The verb in a process of its own."""
    arguments = ["-c", COMMAND, str(folder), "--factory", str(case.root), "--json"]
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


def write_inputs(case: Case, folder: Path, lock: Lock) -> None:
    folder.mkdir()
    (folder / "release.toml").write_text(
        'name = "demo"\nopenstack = "2024.1"\nimages = ["base"]\n'
        '[kolla]\nsource = "pypi"\nversion = "18.8.0"\n'
        '[base]\ndistribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64"]\n'
    )
    (folder / "upper-constraints.txt").write_text("")
    (folder / "airlock.lock").write_bytes(lock.to_bytes())
    case.root.mkdir(exist_ok=True)
    (case.root / "factory.toml").write_text(
        f'[upstreams.debian]\naddress = "{case.stand.url}/debian"\n[fetch]\nconnections = 3\nretries = 2\n'
    )


async def test_killed_at_any_moment_the_same_command_finishes_and_nothing_is_sent_twice(case, tmp_path):
    files = {f"/debian/{n}.deb": body(100 + n, 400_000) for n in range(15)}
    case.stand.files |= files
    case.stand.pace = 0.01
    debs = [artifact("deb", path[8:], data, "debian", path[8:]) for path, data in files.items()]
    await case.witnessed(*debs)
    write_inputs(case, tmp_path / "definition", locked(case.witness, *debs))
    total, kills = sum(map(len, files.values())), 0
    left: list[tuple[str, str]] = []  # (path, the range that must be asked for next) of each cut file
    for share in (0.2, 0.45, 0.7):
        process = await command(case, tmp_path / "definition")
        while sum(case.stand.sent.values()) < share * total and process.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += await process.wait() == -signal.SIGKILL
        done = [one for one in debs if case.pool.has(one.sha256)]
        assert all(case.pool.check(one.sha256, one.size) == "" for one in done)  # under a final name: only whole files
        cut = {one.path: case.pool.path(one.sha256).with_name(one.sha256 + ".part") for one in debs}
        sizes = {path: part.stat().st_size for path, part in cut.items() if part.exists()}
        left += [(f"/debian/{path}", f"bytes={size}-") for path, size in sizes.items() if 0 < size < 400_000]
    assert kills == 3
    before = {one.path: len(case.stand.asked("/debian/" + one.path)) for one in done}
    process = await command(case, tmp_path / "definition")
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["fetched"] == len(debs) - len(done)
    assert all(case.pool.check(one.sha256, one.size) == "" for one in debs)
    assert {path: len(case.stand.asked("/debian/" + path)) for path in before} == before  # no finished file again
    assert left
    assert not [one for one in left if one not in case.stand.requests]  # each cut file went on from its last byte
    assert (
        sum(wanted == "" for _, wanted in case.stand.requests) <= len(debs) + kills * 3
    )  # 3 connections, cut at byte 0
    assert not list(case.pool.root.rglob("*.part"))


async def test_the_command_tells_what_it_did_and_writes_it_into_the_ledger(case, tmp_path):
    write_inputs(case, tmp_path / "definition", locked(case.witness, *case.artifacts))
    process = await command(case, tmp_path / "definition")
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["fetched"] == 3
    process = await command(case, tmp_path / "definition")
    out, _ = await process.communicate()
    assert json.loads(out)["present"] == 3
    lines = [json.loads(line) for line in (case.root / "ledger.jsonl").read_bytes().splitlines()]
    assert [(line["verb"], line["data"]["fetched"]) for line in lines] == [("refresh", 3)]


async def test_the_command_fails_with_the_class_of_the_error(case, tmp_path):
    case.stand.files.pop("/debian/pool/d/demo_1+b1_all.deb")
    write_inputs(case, tmp_path / "definition", locked(case.witness, *case.artifacts))
    process = await command(case, tmp_path / "definition")
    out, err = await process.communicate()
    assert process.returncode == GoneError.exit_code
    assert json.loads(out)["error"] == "GoneError"
    assert b"Traceback" not in err
    (tmp_path / "definition/airlock.lock").unlink()
    process = await command(case, tmp_path / "definition")
    _, err = await process.communicate()
    assert process.returncode == UsageError.exit_code
    assert b"airlock lock" in err


async def test_a_package_that_somebody_wrote_into_the_lock_is_named(case):
    strange = artifact("deb", "strange_1_all.deb", b"x", "debian", "pool/strange_1_all.deb")
    with pytest.raises(IntegrityError, match=r"deb/strange_1_all\.deb is in no index"):
        build_indexes(locked(case.witness, *case.artifacts, strange), case.pool)
