"""The site's tools: Kolla's environment of locked wheels, Kolla from a git repository on loopback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.git_upstream import commit, git, make_repository, served

from airlock.core.errors import IntegrityError, ResolutionError
from airlock.core.settings import FetchTable, UpstreamTable
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.fetch.witness import Witness
from airlock.lock.git_repositories import resolve_repositories
from airlock.lock.model import Artifact
from airlock.lock.python_compile import Compiler
from airlock.lock.python_files import Target
from airlock.lock.tools import required_tools, tools_environment
from airlock.lock.tools_git import kolla_from_git
from airlock.lock.tools_wheel import pack
from airlock.store.pool import Pool

TARGET = Target("3.11.2", "x86_64", (2, 36))


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def tool(pool: Pool, name: str, version: str, arch: str = "any") -> Artifact:
    info = f"{name}-{version}.dist-info"
    tag = "py3-none-any" if arch == "any" else f"py3-none-manylinux_2_17_{arch}"
    files = {
        f"{name}.py": f"VERSION = {version!r}\ndef main(): print(VERSION)\n".encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    data = pack(files, info, {})
    file = f"{name}-{version}-{tag}.whl"
    sha256 = pool.add_bytes(data)
    return Artifact(f"wheel/{file}", "wheel", name, version, arch, file, sha256, len(data), "pypi", file, "first-seen")


def said(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.strip()


async def test_the_environment_holds_the_locked_wheels_alone_and_is_made_once(pool, tmp_path):
    wheels = [tool(pool, "kolla_like", "1.0"), tool(pool, "other", "2.0")]
    asked: list[str] = []

    def content(artifact: Artifact) -> Path:
        asked.append(artifact.file)
        return pool.path(artifact.sha256)

    cache = tmp_path / "cache"
    foreign = tool(pool, "foreign", "1.0", arch="aarch64" if os.uname().machine == "x86_64" else "x86_64")
    python = await tools_environment([*wheels, foreign], content, cache)
    assert said(python, "-I", "-c", "import kolla_like, other; print(kolla_like.VERSION, other.VERSION)") == "1.0 2.0"
    assert said(python.parent / "kolla_like") == "1.0"
    listed = said(
        python, "-I", "-c", "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))"
    )
    assert listed == "['kolla_like', 'other']"
    assert sorted(asked) == ["kolla_like-1.0-py3-none-any.whl", "other-2.0-py3-none-any.whl"]
    assert await tools_environment(reversed(wheels), content, cache) == python
    assert len(asked) == 2, "a finished environment was made again"
    assert [entry.name for entry in cache.iterdir() if entry.name.startswith(".new")] == []
    newer = await tools_environment([*wheels[:1], tool(pool, "other", "2.1")], content, cache)
    assert newer != python


async def test_an_environment_that_was_left_half_made_is_made_again(pool, tmp_path):
    wheels = [tool(pool, "other", "2.0")]
    python = await tools_environment(wheels, lambda one: pool.path(one.sha256), tmp_path / "cache")
    (python.parents[1] / "airlock-complete").unlink()
    (python.parents[1] / "lib").rename(tmp_path / "gone")
    again = await tools_environment(wheels, lambda one: pool.path(one.sha256), tmp_path / "cache")
    assert again == python
    assert said(again, "-I", "-c", "import other; print(other.VERSION)") == "2.0"


@pytest.mark.parametrize("harm", ["change", "remove"])
async def test_a_harmed_wheel_is_refused_and_nothing_is_left(pool, tmp_path, harm):
    wheel = tool(pool, "other", "2.0")
    place = pool.path(wheel.sha256)
    if harm == "remove":
        place.unlink()
    else:
        place.write_bytes(bytes(wheel.size))
    with pytest.raises(IntegrityError):
        await tools_environment([wheel], lambda one: pool.path(one.sha256), tmp_path / "cache")
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == ["lock"]


# Kolla from git ----------------------------------------------------------------------------------------------------

BACKEND = """
import os, zipfile
VERSION = os.environ["PBR_VERSION"]
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    file, info = f"kolla-{VERSION}-py3-none-any.whl", f"kolla-{VERSION}.dist-info"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        wheel.write("kolla.py")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: kolla\\nVersion: {VERSION}\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file
"""


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address of a repository on loopback, and its working tree."""
    system = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    folder = make_repository(
        tmp_path / "upstream", {"pyproject.toml": system, "own.py": BACKEND, "kolla.py": "ONE = 1\n"}
    )
    git(folder, "tag", "-a", "-m", "18.8.0", "18.8.0")
    commit(folder, "two", {"kolla.py": "TWO = 2\n"})
    git(folder, "update-server-info")
    with served(folder / ".git") as address:
        yield address, folder


def from_git(tmp_path: Path, ref: str) -> LoadedDefinition:
    folder = tmp_path / "definition"
    folder.mkdir(exist_ok=True)
    (folder / "upper-constraints.txt").write_text("")
    (folder / "release.toml").write_text(
        f'name = "t"\nopenstack = "2024.1"\nimages = ["base"]\n[kolla]\nsource = "git"\nref = "{ref}"\n'
        '[base]\ndistribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64"]\n'
    )
    return load_definition(folder)


async def made(tmp_path: Path, pool: Pool, ref: str, address: str, transcript: str = "") -> tuple[Artifact, str]:
    """The wheel of Kolla at a ref, and the transcript of what was asked."""
    place = tmp_path / "witness.sock"
    opened = (
        Witness.replay(pool, transcript, socket=place)
        if transcript
        else Witness.record(pool, {"pypi": "http://127.0.0.1:9/simple"}, FetchTable(retries=0), socket=place)
    )
    upstreams = {"kolla": UpstreamTable(address=address)}
    definition = from_git(tmp_path, ref).definition
    async with opened as witness:
        compiler = Compiler(witness, place, "pypi", TARGET, tmp_path / "compiler")
        found = await resolve_repositories(definition, upstreams, witness, pool, tmp_path / "git")
        wheel = await kolla_from_git(found["kolla"][1], witness, pool, compiler, TARGET, tmp_path / "wheel")
        return wheel, pool.add_bytes(witness.transcript())


async def test_a_ref_becomes_a_wheel_of_its_commit(pool, tmp_path, repository):
    address, _ = repository
    found, transcript = await made(tmp_path, pool, "master", address)
    assert (found.file, found.trust) == ("kolla-18.8.1.dev1-py3-none-any.whl", "made")
    python = await tools_environment([found], lambda one: pool.path(one.sha256), tmp_path / "cache")
    assert said(python, "-I", "-c", "import kolla; print(kolla.TWO)") == "2"
    again, _ = await made(tmp_path, Pool(tmp_path / "second"), "master", address)
    assert again == found, "the same commit gave other bytes"
    # solving again: offline, from what was made then
    offline, _ = await made(tmp_path, pool, "master", "http://127.0.0.1:9/", transcript)
    assert offline == found


@pytest.mark.parametrize("short", [False, True])
async def test_a_tag_is_its_version_and_a_commit_is_a_ref_too(pool, tmp_path, repository, short):
    address, folder = repository
    ref = git(folder, "rev-parse", "18.8.0^{commit}") if short else "18.8.0"
    found, _ = await made(tmp_path, pool, ref, address)
    assert found.version == "18.8.0"


async def test_a_commit_that_makes_no_wheel_is_said(pool, tmp_path, repository):
    address, folder = repository
    commit(folder, "three", {"own.py": "raise RuntimeError('no good')\n"})
    git(folder, "update-server-info")
    with pytest.raises(ResolutionError, match=r"does not build: .*no good"):
        await made(tmp_path, pool, "master", address)
    git(folder, "tag", "-d", "18.8.0")
    git(folder, "update-server-info")
    with pytest.raises(ResolutionError, match="no version's tag leads to it"):
        await made(tmp_path, pool, "master", address)


def test_the_required_tools_follow_from_the_definition(tmp_path):
    assert required_tools(from_git(tmp_path, "master")) == ("kolla-airlock", "kolla @ git master", "podman")
