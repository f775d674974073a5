"""Repositories that a RUN clones: locked as a pack, and cloned by the real git from the room as from upstream."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ecosystem_ground import gathered, resolve, room
from tests.git_upstream import commit, git, make_repository, served

from airlock.core.errors import AirlockError, ResolutionError, UnclassifiedError, UpstreamError
from airlock.lock.ecosystem import Answers
from airlock.lock.git_clones import GitClones
from airlock.lock.image_index import sealed_clones
from airlock.store.pool import Pool


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a folder with one repository, ``tool.git``, and its working tree."""
    folder = make_repository(tmp_path / "work" / "tool", {"file": "one\n"}, "main")
    git(folder, "tag", "-a", "-m", "1.0", "1.0")
    commit(folder, "two", {"file": "two\n"})
    git(folder, "checkout", "--quiet", "-b", "stable/1")
    commit(folder, "three", {"file": "three\n"})
    git(folder, "checkout", "--quiet", "main")
    git(folder, "update-server-info")
    (tmp_path / "web").mkdir()
    (tmp_path / "web/tool.git").symlink_to(folder / ".git")
    with served(tmp_path / "web") as address:
        yield address, folder


async def lock(tmp_path: Path, run: str) -> Answers:
    return await resolve(GitClones(), gathered({"one": run}, tmp_path / "c"), "", Pool(tmp_path / "pool"))


def clone(work: Path, *words: str) -> Path:
    work.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(work), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", "clone", "--quiet", *words], cwd=work, env=environment, check=True, capture_output=True)
    (found,) = [path for path in work.iterdir() if path.is_dir()]
    return found


@pytest.mark.parametrize(
    ("options", "text", "head"),
    [((), "two\n", "main"), (("-b", "stable/1"), "three\n", "stable/1"), (("-b", "1.0"), "one\n", "HEAD")],
)
async def test_the_real_git_clones_the_same_from_the_room(tmp_path, upstream, options, text, head):
    address, folder = upstream
    found = await lock(tmp_path, f"RUN git clone {' '.join(options)} {address}/tool.git /opt/tool")
    (demand,) = found.demands
    assert demand.spec == f"{address}/tool.git" + "".join(f" @ {one}" for one in options[1:])
    pool = Pool(tmp_path / "pool")
    files = {one.sha256: pool.read(one.sha256) for one in found.artifacts}
    led = sealed_clones(found.demands, {one.id: one for one in found.artifacts})["one"][f"{address}/tool.git"]
    assert led.startswith("http://mirror.airlock.internal/git-clone/")
    name = led.rpartition("/")[2]
    real = clone(tmp_path / "real", *options, f"{address}/tool.git")
    with room(GitClones(), found, files) as (index, _):
        held = clone(tmp_path / "held", *options, f"{index}/{name}")
    for at in (real, held):
        assert (at / "file").read_text() == text
        assert git(at, "rev-parse", "--abbrev-ref", "HEAD") == head
    assert git(held, "rev-parse", "HEAD") == git(real, "rev-parse", "HEAD") == found.artifacts[0].version
    assert git(held, "tag") == git(real, "tag")
    git(held, "fsck", "--strict")
    commit(folder, "four", {"file": "four\n"})
    git(folder, "update-server-info")
    assert files == {one.sha256: pool.read(one.sha256) for one in found.artifacts}, "upstream moves, the lock does not"


async def test_locked_twice_it_has_the_same_bytes(tmp_path, upstream):
    address, _ = upstream
    run = f"RUN git clone {address}/tool.git /opt/tool"
    first, second = await lock(tmp_path / "a", run), await lock(tmp_path / "b", run)
    assert first == second


@pytest.mark.parametrize(
    ("run", "kind", "said"),
    [
        ("RUN git clone -b gone {}/tool.git /opt/t", ResolutionError, "has no branch or tag gone"),
        ("RUN git clone {}/nothing.git /opt/t", UpstreamError, "cannot be read"),
        ("RUN git clone --depth=1 {}/tool.git /opt/t", UnclassifiedError, "a shallow clone"),
        (
            "RUN git clone {0}/tool.git /opt/a && git clone -b stable/1 {0}/tool.git /opt/b",
            ResolutionError,
            "cloned twice",
        ),
        ("RUN git clone {}/..git /opt/t", ResolutionError, "has a name that no repository"),
        ("RUN git clone -b a..b {}/tool.git /opt/t", ResolutionError, "has a name that no repository or branch"),
        ("RUN git clone git://mirror.example.org/tool /opt/t", UnclassifiedError, "neither http nor https"),
    ],
)
async def test_what_cannot_be_cloned_is_refused_with_image_and_line(
    tmp_path, upstream, run, kind: type[AirlockError], said
):
    with pytest.raises(kind) as caught:
        await lock(tmp_path, run.format(upstream[0]))
    assert str(caught.value).startswith("image one (x86_64), line 2")
    assert said in str(caught.value)


def test_a_playbook_is_refused_and_what_to_do_is_said(tmp_path):
    run = "ADD x-archive /x-source\nRUN ln -s x-source/* /x\nRUN ansible-playbook -i /x/inventory /x/install.yaml"
    with pytest.raises(UnclassifiedError) as caught:
        gathered({"one": run}, tmp_path)
    assert "image one, line 4: what /x/install.yaml fetches cannot be told" in str(caught.value)
    assert "[leave_out]" in str(caught.value)
