"""Kind ``git``: repositories on loopback become bundles of one commit's history, always the same ones."""

from __future__ import annotations

import base64
import http.server
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.git_upstream import commit, git, long_history, make_repository, served

from airlock.core import git as core_git
from airlock.core.errors import IntegrityError, ResolutionError, UpstreamError, UsageError
from airlock.core.settings import FetchTable, UpstreamTable
from airlock.definition.load import load_definition
from airlock.definition.model import Definition
from airlock.fetch.witness import Witness
from airlock.lock.git_bundle import open_git_bundle
from airlock.lock.git_repositories import locked_repositories, repository_demands, resolve_repositories
from airlock.lock.model import Artifact, Demand, make_lock
from airlock.store.pool import Pool


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a repository, and its working tree."""
    folder = make_repository(tmp_path / "upstream", {"zuul.yaml": "[]\n"}, "main")
    git(folder, "tag", "-a", "-m", "1.0", "1.0")
    commit(folder, "two", {"zuul.yaml": "[1]\n"})
    git(folder, "checkout", "--quiet", "-b", "other")
    commit(folder, "three", {"other": "3\n"})
    git(folder, "tag", "elsewhere")
    git(folder, "checkout", "--quiet", "main")
    git(folder, "update-server-info")
    with served(folder / ".git") as address:
        yield address, folder


def definition(tmp_path: Path, repositories: dict[str, str]) -> Definition:
    folder = tmp_path / "definition"
    folder.mkdir(exist_ok=True)
    (folder / "upper-constraints.txt").write_text("")
    (folder / "release.toml").write_text(
        'name = "t"\nopenstack = "2024.1"\nimages = ["base"]\n[kolla]\nversion = "18.8.0"\n'
        '[base]\ndistribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64"]\n'
        + "".join(f'[git.{name}]\nref = "{ref}"\n' for name, ref in repositories.items())
    )
    return load_definition(folder).definition


async def resolved(
    tmp_path: Path, pool: Pool, wanted: dict[str, str], addresses: dict[str, str], transcript: str = ""
) -> tuple[dict[str, tuple[Demand, Artifact]], str]:
    opened = (
        Witness.replay(pool, transcript)
        if transcript
        else Witness.record(pool, {"pypi": "http://127.0.0.1:9/simple"}, FetchTable(retries=0))
    )
    upstreams = {name: UpstreamTable(address=address) for name, address in addresses.items()}
    async with opened as witness:
        found = await resolve_repositories(definition(tmp_path, wanted), upstreams, witness, pool, tmp_path / "work")
        return found, pool.add_bytes(witness.transcript())


async def one(tmp_path: Path, pool: Pool, ref: str, address: str) -> Artifact:
    found, _ = await resolved(tmp_path, pool, {"config": ref}, {"config": address})
    return found["config"][1]


def heads(pool: Pool, artifact: Artifact) -> dict[str, str]:
    said = subprocess.run(["git", "bundle", "list-heads", pool.path(artifact.sha256)], capture_output=True, check=True)
    return {ref: ident for ident, _, ref in (line.partition(" ") for line in said.stdout.decode().splitlines())}


async def test_a_branch_becomes_a_bundle_of_its_commits_history_and_the_tags_that_lead_into_it(
    pool, tmp_path, upstream
):
    address, folder = upstream
    found, transcript = await resolved(tmp_path, pool, {"config": "main"}, {"config": address})
    demand, artifact = found["config"]
    head = git(folder, "rev-parse", "main")
    assert demand == Demand("any", "", 0, "git", "config @ main", (artifact.id,))
    assert (artifact.kind, artifact.name, artifact.version) == ("git", "config", head)
    assert artifact.file == f"config-{head[:12]}.bundle"
    tag = git(folder, "rev-parse", "refs/tags/1.0")
    assert heads(pool, artifact) == {
        "HEAD": head,
        "refs/heads/airlock": head,
        "refs/heads/main": head,
        "refs/tags/1.0": tag,
    }
    git(tmp_path, "clone", "--quiet", str(pool.path(artifact.sha256)), "clone")  # as docs/formats/bundle.md says
    assert git(tmp_path / "clone", "rev-parse", "HEAD") == head
    assert git(tmp_path / "clone", "describe").startswith("1.0-1-")
    assert not list((tmp_path / "work").iterdir()), "scratch was left"
    # solving again: offline, from what was fetched then
    again, _ = await resolved(tmp_path, pool, {"config": "main"}, {}, transcript)
    assert again == found
    with pytest.raises(ResolutionError, match=r"config @ other was not read"):
        await resolved(tmp_path, pool, {"config": "other"}, {"config": address}, transcript)


async def test_a_tag_and_a_commit_are_refs_too_and_bring_no_branch(pool, tmp_path, upstream):
    address, folder = upstream
    first = git(folder, "rev-parse", "1.0^{commit}")
    for ref in ("1.0", first, first[:10]):
        artifact = await one(tmp_path, pool, ref, address)
        assert artifact.version == first
        assert heads(pool, artifact).keys() == {"HEAD", "refs/heads/airlock", "refs/tags/1.0"}


async def test_the_same_history_gives_the_same_bytes_however_its_server_packed_it(pool, tmp_path):
    folder = long_history(tmp_path / "long")
    git(folder, "update-server-info")
    with served(folder / ".git") as address:
        loose = await one(tmp_path, pool, "main", address)
        git(folder, "branch", "more", "main~30")
        git(folder, "checkout", "--quiet", "more")
        commit(folder, "of no concern", {"x": "x" * 5000})
        git(folder, "gc", "--quiet", "--aggressive")
        git(folder, "update-server-info")
        packed = await one(tmp_path, pool, "main", address)
    assert loose == packed
    assert len([ref for ref in heads(pool, packed) if ref.startswith("refs/tags/")]) == 6


async def test_what_cannot_be_had_is_said(pool, tmp_path, upstream):
    address, _ = upstream
    with pytest.raises(ResolutionError, match=r"config \(.*\) has no branch, tag or commit stable/2099") as caught:
        await one(tmp_path, pool, "stable/2099", address)
    assert "git.config.ref" in caught.value.remedy
    for ref in ("abcdef0", "HEAD", "refs/notes/commits"):
        with pytest.raises(ResolutionError, match="no branch, tag or commit"):
            await one(tmp_path, pool, ref, address)
    with pytest.raises(UpstreamError, match="upstream config: git cannot fetch"):
        await one(tmp_path, pool, "main", f"{address}/nothing")
    with pytest.raises(UpstreamError, match="Failed to connect"):
        await one(tmp_path, pool, "main", "http://127.0.0.1:9")
    with pytest.raises(UsageError, match="no address of it is known") as usage:
        await resolved(tmp_path, pool, {"config": "main"}, {})
    assert "[upstreams.config]" in usage.value.remedy


async def test_an_option_that_got_past_the_definition_is_still_no_option(pool, tmp_path, upstream):
    address, _ = upstream
    made = tmp_path / "made"
    broken = definition(tmp_path, {"config": "main"})
    broken.git["config"] = type(broken.git["config"])(ref=f"--upload-pack=touch {made}")
    async with Witness.record(pool, {"pypi": "http://127.0.0.1:9/simple"}, FetchTable(retries=0)) as witness:
        with pytest.raises((ResolutionError, UpstreamError)):
            await resolve_repositories(broken, {"config": UpstreamTable(address=address)}, witness, pool, tmp_path)
    assert not made.exists()


async def test_nothing_of_a_hostile_repository_runs(pool, tmp_path):
    """Hooks and configuration of the server's own repository, submodules, attributes, names like options."""
    made = tmp_path / "made"
    folder = make_repository(tmp_path / "hostile", {".gitattributes": "* filter=bad\n", "x": "x\n"}, "main")
    (folder / ".gitmodules").write_text('[submodule "s"]\n\tpath = s\n\turl = http://127.0.0.1:9/s\n\tupdate = none\n')
    git(folder, "update-index", "--add", "--cacheinfo", f"160000,{git(folder, 'rev-parse', 'HEAD')},s")
    commit(folder, "with a submodule", {})
    git(folder, "update-ref", "refs/tags/-u./bad", "HEAD")
    for hook in ("post-checkout", "reference-transaction", "post-merge", "pre-push"):
        place = folder / ".git/hooks" / hook
        place.write_text(f"#!/bin/sh\ntouch {made}\n")
        place.chmod(0o755)
    git(folder, "config", "filter.bad.smudge", f"touch {made}")
    git(folder, "config", "uploadpack.packObjectsHook", f"touch {made}")
    made.unlink(missing_ok=True)
    git(folder, "-c", "core.hooksPath=/dev/null", "update-server-info")
    with served(folder / ".git") as address:
        artifact = await one(tmp_path, pool, "main", address)
    opened = open_git_bundle(pool.path(artifact.sha256), artifact.version, tmp_path / "opened", "it")
    assert opened.object("refs/tags/-u./bad") == artifact.version
    assert not made.exists()
    assert not (opened.folder / "hooks").exists()


async def test_a_malformed_history_is_refused_at_the_factory(pool, tmp_path):
    folder = make_repository(tmp_path / "bad", {"x": "x\n"}, "main")
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    words = f"tree {tree}\nauthor A <a@example.org> 1\ncommitter A <a@example.org> 1 +0000\n\nbad\n"
    bad = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", "--literally", data=words)
    git(folder, "update-ref", "refs/heads/main", bad)
    git(folder, "update-server-info")
    with served(folder / ".git") as address, pytest.raises(ResolutionError, match=r"not sound: .*bad date"):
        await one(tmp_path, pool, "main", address)


async def test_more_than_a_bundle_carries_is_refused(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(core_git, "MAX_FILE", 200_000)
    folder = make_repository(tmp_path / "huge", {"x": "x\n"}, "main")
    (folder / "noise").write_bytes(random.Random(0).randbytes(600_000))
    commit(folder, "huge", {})
    git(folder, "gc", "--quiet")
    git(folder, "update-server-info")
    with served(folder / ".git") as address, pytest.raises(UpstreamError, match=r"config") as caught:
        await one(tmp_path, pool, "main", address)
    assert caught.value.remedy
    assert not [path for path in pool.root.rglob("*") if path.is_file()]


def test_a_bundle_that_is_not_of_its_commit_or_not_whole_is_refused(tmp_path):
    folder = long_history(tmp_path / "long")
    head = git(folder, "rev-parse", "HEAD")
    git(folder, "update-ref", "refs/heads/airlock", "HEAD~1")
    git(folder, "bundle", "create", "--quiet", str(tmp_path / "lies"), "refs/heads/airlock")
    with pytest.raises(IntegrityError, match=f"said to be of commit {head}, and is of "):
        open_git_bundle(tmp_path / "lies", head, tmp_path / "a", "it")
    git(folder, "update-ref", "refs/heads/airlock", "HEAD")
    git(folder, "bundle", "create", "--quiet", str(tmp_path / "thin"), "HEAD~3..refs/heads/airlock")
    with pytest.raises(IntegrityError, match="no whole git bundle"):
        open_git_bundle(tmp_path / "thin", head, tmp_path / "b", "it")
    git(folder, "bundle", "create", "--quiet", str(tmp_path / "whole"), "refs/heads/airlock")
    data = bytearray((tmp_path / "whole").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed").write_bytes(data)
    for name in ("changed", "nowhere"):
        with pytest.raises(IntegrityError, match="is no (whole )?git bundle"):
            open_git_bundle(tmp_path / name, head, tmp_path / f"c-{name}", "it")
    assert open_git_bundle(tmp_path / "whole", head, tmp_path / "d", "it").object("refs/heads/airlock") == head


async def test_a_login_reaches_its_own_server_and_no_command_line(pool, tmp_path, upstream):
    """A repository behind basic authentication; what the processes were called is looked at while git runs."""
    _, folder = upstream
    wanted = "Basic " + base64.b64encode(b"ada:s3cret pass").decode()
    seen: list[str] = []

    class Guarded(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *rest: object) -> None:
            super().__init__(*rest, directory=str(folder / ".git"))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            seen.extend(_command_lines())
            if self.headers.get("Authorization") == wanted:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *rest: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        artifact = await one(tmp_path, pool, "main", f"http://ada:s3cret%20pass@127.0.0.1:{server.server_port}")
        assert artifact.version == git(folder, "rev-parse", "main")
        with pytest.raises(UpstreamError) as caught:
            await one(tmp_path, pool, "main", f"http://ada:wr0ng@127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "wr0ng" not in caught.value.message + caught.value.remedy
    assert any(" fetch " in line for line in seen), "no command line was seen"
    assert not [line for line in seen if "s3cret" in line or "wr0ng" in line]


def _command_lines() -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = place.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        found.append(line)
    return found


async def test_a_server_that_stalls_is_not_waited_for(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(core_git, "TIMEOUT", 1.0)

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(3)

        def log_message(self, *rest: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with pytest.raises(UpstreamError, match="did not end within"):
            await one(tmp_path, pool, "main", f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_lock_names_every_repository_with_the_ref_it_was_asked_by(pool, tmp_path, upstream):
    address, folder = upstream
    wanted = {"b": "main", "a": "1.0"}
    found, _ = await resolved(tmp_path, pool, wanted, {"a": address, "b": address})
    assert list(found) == ["a", "b"]
    lock = make_lock(
        release="t", definition="0" * 64, kolla={}, witness="0" * 64, requires={}, images=[],
        demands=[demand for demand, _ in found.values()], artifacts=[artifact for _, artifact in found.values()],
    )  # fmt: skip
    assert {name: ref for name, (ref, _) in locked_repositories(lock).items()} == wanted
    assert locked_repositories(lock)["a"][1].version == git(folder, "rev-parse", "1.0^{commit}")
    assert [demand.spec for demand in repository_demands(definition(tmp_path, wanted))] == ["a @ 1.0", "b @ main"]
