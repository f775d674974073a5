"""Pip commands resolved against an index on loopback, then the proof: real pip, no network, the locked files alone."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from airlock.core.digest import sha256_bytes
from airlock.core.errors import ResolutionError, UpstreamError
from airlock.core.settings import FetchTable
from airlock.fetch.witness import Witness
from airlock.lock.model import make_lock
from airlock.lock.pypi_index import pypi_indexes
from airlock.lock.python_model import PipLine, PythonResult, PythonState, SourceTree
from airlock.lock.python_resolver import PythonResolver
from airlock.lock.sandbox import Limits, run_sandboxed
from airlock.lock.tools_wheel import pack
from airlock.store.pool import Pool

PYTHON = ".".join(str(part) for part in sys.version_info[:3])
ONCE = FetchTable(connections=4, retries=1, timeout=5.0)
VENV = "/var/lib/kolla/venv"

# A build backend inside its own sdist: it needs what it names, and says what it needs besides when it is asked.
BACKEND = """
import os, zipfile
{imports}
NAME, VERSION = {name!r}, {version!r}
INFO = f"{{NAME}}-{{VERSION}}.dist-info"
METADATA = "Metadata-Version: 2.1\\nName: " + NAME + "\\nVersion: " + VERSION + "\\n" + {more!r}

def get_requires_for_build_wheel(config_settings=None):
    {asked}

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, INFO))
    open(os.path.join(folder, INFO, "METADATA"), "w").write(METADATA)
    return INFO

def build_wheel(folder, config_settings=None, metadata_directory=None):
    {needed}
    file = f"{{NAME}}-{{VERSION}}-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
        wheel.writestr(f"{{NAME}}.py", "")
        wheel.writestr(f"{{INFO}}/METADATA", METADATA)
        wheel.writestr(f"{{INFO}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{INFO}}/RECORD", "")
    return file
"""


def wheel(name: str, version: str, requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> tuple[str, bytes]:
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    files = {
        f"{name}.py": b"",
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    return f"{name}-{version}-{tag}.whl", pack(files, info, {})


def sdist(
    name: str,
    version: str,
    *,
    static: tuple[str, ...] = (),
    asked: str = "return []",
    imports: str = "",
    needed: str = "pass",
    requires: tuple[str, ...] = (),
    stated: bool = False,
) -> tuple[str, bytes]:
    """``stated``: with a PKG-INFO whose dependencies hold (metadata 2.2), so that uv need not ask the backend."""
    more = "".join(f"Requires-Dist: {one}\n" for one in requires)
    more += "".join(f"Provides-Extra: {extra}\n" for one in requires for extra in re.findall(r'extra == "(\w+)"', one))
    backend = BACKEND.format(name=name, version=version, more=more, asked=asked, imports=imports, needed=needed)
    project = f'[build-system]\nrequires = {json.dumps(list(static))}\nbuild-backend = "own"\nbackend-path = ["."]\n'
    files = {"pyproject.toml": project, "own.py": backend}
    if stated:
        files["PKG-INFO"] = f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n{more}"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", stream.getvalue()


class Index:
    """A package index on loopback; ``down`` makes it fail."""

    def __init__(self, *files: tuple[str, bytes]) -> None:
        self.files = dict(files)
        self.down = False
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/simple/{name}/", self._page)
        app.router.add_get("/files/{file}", self._file)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/simple"
        finally:
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        if self.down:
            raise web.HTTPServiceUnavailable
        name = request.match_info["name"]
        files = [
            {"filename": file, "url": f"/files/{file}", "hashes": {"sha256": sha256_bytes(data)}, "size": len(data)}
            for file, data in self.files.items()
            if file.split("-")[0] == name.replace("-", "_")
        ]
        if not files:
            raise web.HTTPNotFound
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()
        return web.Response(body=body, headers={"Content-Type": "application/vnd.pypi.simple.v1+json"})

    async def _file(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["file"]])


def chain_index() -> Index:
    return Index(
        wheel("leaf", "1.0"),
        wheel("leaf", "2.0"),
        wheel("app", "1.0", ("leaf>=1", "native[fast]")),
        wheel("speed", "3.1", tag="cp311-cp311-manylinux_2_17_x86_64"),
        wheel("speed", "3.1", tag="py3-none-any"),
        sdist(
            "native",
            "1.5",
            static=("buildtool>=1",),
            imports="import buildtool",
            asked='return ["hooktool>=0.1"]',
            needed="import hooktool",
            requires=('speed; extra == "fast"', "leaf"),
        ),
        wheel("buildtool", "1.0"),
        wheel("buildtool", "2.0", ("leaf>=2",)),
        sdist("hooktool", "0.2"),
        sdist("broken", "1.0", asked='raise SystemExit("no krb5-config")', static=("buildtool",), stated=True),
        wheel("client", "1.0", ("project>=1", "leaf")),
    )


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def resolver(witness: Witness, pool: Pool, tmp_path: Path, **changes: object) -> PythonResolver:
    values = {"constraints": "leaf===1.0\n", "pins": [], "build_pins": [], "arch": "x86_64", "glibc": (2, 36)}
    place = {"socket": tmp_path / "witness.sock", "work": tmp_path / "work"}
    return PythonResolver(witness=witness, pool=pool, **(values | place | changes))  # type: ignore[arg-type]


@asynccontextmanager
async def recording(index: Index, pool: Pool, tmp_path: Path) -> AsyncIterator[Witness]:
    async with (
        index.serving() as address,
        Witness.record(pool, {"pypi": address}, ONCE, socket=tmp_path / "witness.sock") as witness,
    ):
        yield witness


def archive(pool: Pool, name: str, version: str, **changes: object) -> SourceTree:
    file, data = sdist(name, version, **changes)  # type: ignore[arg-type]
    return SourceTree(name, file, pool.path(pool.add_bytes(data)), f"source/{file}")


def line(number: int, *requirements: str, **changes: object) -> PipLine:
    spec = " ".join(("install", "--upgrade", *requirements))
    values = {"line": number, "spec": spec, "requirements": requirements, "upgrade": True, "venv": VENV}
    return PipLine(**(values | changes))  # type: ignore[arg-type]


def answers(result: PythonResult) -> dict[tuple[str, str], set[str]]:
    return {(demand.kind, demand.spec): set(demand.artifacts) for demand in result.demands}


EXPECTED = {
    ("python", "install --upgrade app"): {
        "wheel/app-1.0-py3-none-any.whl",
        "wheel/leaf-1.0-py3-none-any.whl",
        "wheel/speed-3.1-cp311-cp311-manylinux_2_17_x86_64.whl",
        "sdist/native-1.5.tar.gz",
    },
    # -c does not reach isolation: the newest buildtool, and what it needs
    ("python-build", "native-1.5.tar.gz"): {
        "wheel/buildtool-2.0-py3-none-any.whl",
        "wheel/leaf-2.0-py3-none-any.whl",
        "sdist/hooktool-0.2.tar.gz",
    },
    ("python-build", "hooktool-0.2.tar.gz"): set(),
}


async def test_a_pip_command_is_answered_with_its_files_and_what_building_them_needs(pool, tmp_path):
    async with recording(chain_index(), pool, tmp_path) as witness:
        found = await resolver(witness, pool, tmp_path).resolve(
            "base", [line(7, "app")], PythonState(), python_version="3.11.2", system={}
        )
    assert answers(found) == EXPECTED
    assert {artifact.id for artifact in found.artifacts} == set().union(*EXPECTED.values())
    assert {demand.line for demand in found.demands} == {7}
    by_id = {artifact.id: artifact for artifact in found.artifacts}
    native = by_id["sdist/native-1.5.tar.gz"]
    assert (native.path, native.upstream, native.trust) == ("native/native-1.5.tar.gz", "pypi", "first-seen")
    held = {name: one.version for name, one in found.state.environments[VENV].items()}
    assert held == {"app": "1.0", "leaf": "1.0", "native": "1.5", "speed": "3.1"}


async def test_solving_again_offline_gives_the_same_bytes(pool, tmp_path):
    async def solve(witness: Witness) -> bytes:
        tree = archive(pool, "project", "1.0", requires=("leaf",))
        lines = [line(7, "app"), line(9, "client", "broken", sources=(tree,))]
        found = await resolver(witness, pool, tmp_path).resolve(
            "base", lines, PythonState(), python_version="3.11.2", system={"leaf": "1.0"}
        )
        lock = make_lock(
            release="r", definition="", kolla={}, witness="", requires={}, images=[], demands=found.demands,
            artifacts=found.artifacts,
        )  # fmt: skip
        return lock.to_bytes()

    async with recording(chain_index(), pool, tmp_path) as witness:
        first = await solve(witness)
        transcript = pool.add_bytes(witness.transcript())
    async with Witness.replay(pool, transcript, socket=tmp_path / "witness.sock") as witness:
        assert await solve(witness) == first
        assert witness.unanswered == []


async def test_what_is_installed_stays_and_what_is_named_is_upgraded(pool, tmp_path):
    async with recording(chain_index(), pool, tmp_path) as witness:
        python = resolver(witness, pool, tmp_path, constraints="")
        system = {"Leaf": "1.0"}

        async def files(*lines: PipLine, state: PythonState | None = None) -> set[str]:
            found = await python.resolve("i", lines, state or PythonState(), python_version="3.11.2", system=system)
            return {ident for demand in found.demands if demand.kind == "python" for ident in demand.artifacts}

        assert await files(line(1, "buildtool==1.0")) == {"wheel/buildtool-1.0-py3-none-any.whl"}
        assert await files(line(1, "leaf")) == {"wheel/leaf-2.0-py3-none-any.whl"}
        assert await files(line(1, "leaf", upgrade=False)) == set()
        assert "wheel/leaf-1.0-py3-none-any.whl" not in await files(line(1, "app"))
        found = await python.resolve(
            "i", [line(1, "leaf", upgrade=False)], PythonState(), python_version="3.11.2", system=system
        )
        assert found.demands[0].note
        # a virtual environment's own distributions count for the next line and for a child image
        first = await python.resolve("p", [line(1, "leaf")], PythonState(), python_version="3.11.2", system=system)
        child = await files(line(1, "app"), state=first.state)
        assert child == {
            "wheel/app-1.0-py3-none-any.whl",
            "sdist/native-1.5.tar.gz",
            "wheel/speed-3.1-cp311-cp311-manylinux_2_17_x86_64.whl",
        }


async def test_a_source_tree_answers_later_requirements_of_its_name(pool, tmp_path):
    tree = archive(
        pool,
        "project",
        "1.3",
        static=("buildtool<2",),
        requires=("leaf", 'speed; extra == "ldap"'),
        imports="import buildtool",
    )
    asked = SourceTree(tree.name, tree.file, tree.path, tree.artifact, ("ldap",))
    async with recording(chain_index(), pool, tmp_path) as witness:
        python = resolver(witness, pool, tmp_path)
        parent = await python.resolve(
            "p",
            [line(3, sources=(asked,), spec="install /project[ldap]")],
            PythonState(),
            python_version="3.11.2",
            system={},
        )
        assert answers(parent) == {
            ("python", "install /project[ldap]"): {
                "source/project-1.3.tar.gz",
                "wheel/leaf-1.0-py3-none-any.whl",
                "wheel/speed-3.1-cp311-cp311-manylinux_2_17_x86_64.whl",
            },
            ("python-build", "project-1.3.tar.gz"): {"wheel/buildtool-1.0-py3-none-any.whl"},
        }
        child = await python.resolve("c", [line(1, "client")], parent.state, python_version="3.11.2", system={})
    assert answers(child) == {("python", "install --upgrade client"): {"wheel/client-1.0-py3-none-any.whl"}}


# Run as soon as the backend is imported. It says what it managed in a requirement: that much may come out, and it does.
HOSTILE = """
import os, pathlib, socket
done = []
for place in {places!r}:
    try:
        pathlib.Path(place).write_text("x")
        done.append("wrote")
    except OSError:
        pass
for place in {secrets!r}:
    try:
        pathlib.Path(place).read_text()
        done.append("read")
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=1)
    done.append("connected")
except OSError:
    pass
done += ["environment"] if "AIRLOCK_TEST_SECRET" in os.environ else []
"""


@pytest.mark.parametrize("stated", [True, False])
async def test_nothing_of_a_hostile_sdist_runs_outside_the_sandbox(pool, tmp_path, monkeypatch, stated):
    """``stated``: else uv asks the backend for its metadata, too, while it resolves."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    monkeypatch.setenv("AIRLOCK_TEST_SECRET", "secret")
    monkeypatch.setenv("HOME", str(outside))
    places = [str(outside / "mark"), "~/mark", "/var/tmp/airlock-test-mark", str(pool.root / "mark")]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        imports = HOSTILE.format(places=places, secrets=[str(outside / "secret")], port=listener.getsockname()[1])
        asked = "return ['leaf', 'native[' + ','.join(done) + ']'] if done else ['leaf']"
        index = Index(wheel("leaf", "1.0"), sdist("evil", "1.0", imports=imports, asked=asked, stated=stated))
        async with recording(index, pool, tmp_path) as witness:
            found = await resolver(witness, pool, tmp_path).resolve(
                "i", [line(1, "evil")], PythonState(), python_version="3.11.2", system={}
            )
        with pytest.raises(BlockingIOError):
            listener.accept()
    built = answers(found)["python-build", "evil-1.0.tar.gz"]
    assert built == {"wheel/leaf-1.0-py3-none-any.whl"}, "it ran, and could do nothing of what it tried"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert not any(Path(place).exists() for place in places)


async def test_a_hook_that_fails_leaves_the_static_requirements_and_a_note(pool, tmp_path):
    async with recording(chain_index(), pool, tmp_path) as witness:
        found = await resolver(witness, pool, tmp_path, build_pins=["buildtool<2"]).resolve(
            "i", [line(1, "broken")], PythonState(), python_version="3.11.2", system={}
        )
    build = next(demand for demand in found.demands if demand.kind == "python-build")
    assert build.artifacts == ("wheel/buildtool-1.0-py3-none-any.whl",)
    assert "hook" in build.note


async def test_what_cannot_be_resolved_names_image_line_and_uvs_words(pool, tmp_path):
    index = chain_index()
    async with recording(index, pool, tmp_path) as witness:
        python = resolver(witness, pool, tmp_path)

        async def fails(*requirements: str, **changes: object) -> str:
            with pytest.raises(ResolutionError) as caught:
                await python.resolve(
                    "openstack-base",
                    [line(44, *requirements, **changes)],
                    PythonState(),
                    python_version="3.11.2",
                    system={},
                )
            assert "image openstack-base (x86_64), line 44" in caught.value.message
            assert caught.value.remedy
            return caught.value.message

        assert "nowhere was not found" in await fails("nowhere")
        assert "leaf==2.0" in await fails("leaf==2.0")
        assert "address of its own" in await fails("leaf @ http://mirror.example.org/leaf.whl")
        assert "--index-url" in await fails(requirement_texts=("--index-url http://mirror.example.org\nleaf\n",))
        index.files |= [sdist("unbuildable", "1.0", static=("nowhere",), stated=True)]
        assert "to build unbuildable-1.0.tar.gz: " in await fails("unbuildable")
        index.down = True
        with pytest.raises(UpstreamError, match=r"line 45.*503"):
            await python.resolve("i", [line(45, "unasked")], PythonState(), python_version="3.11.2", system={})


DRIVER = """
import functools, http.server, json, os, subprocess, sys, threading
seen = []
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_request(self, code="-", size="-"): seen.append((int(code), self.path))
    def log_message(self, *rest): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 80 if os.geteuid() == 0 else 8080),
                                         functools.partial(Handler, directory="/served"))
threading.Thread(target=server.serve_forever, daemon=True).start()
subprocess.run([sys.executable, "-m", "venv", "/tmp/venv"], check=True)
index = f"http://127.0.0.1:{server.server_port}/pypi/simple"
for arguments in json.loads(sys.argv[1]):
    subprocess.run(["/tmp/venv/bin/python", "-m", "pip", "install", "--no-cache-dir", "--disable-pip-version-check",
                    "--index-url", index, *arguments], check=True, stdout=sys.stderr)
listed = subprocess.run(["/tmp/venv/bin/python", "-m", "pip", "list", "--format", "json"],
                        check=True, capture_output=True).stdout
print(json.dumps({"installed": {one["name"]: one["version"] for one in json.loads(listed)}, "seen": seen}))
"""


async def test_pip_installs_offline_from_the_locked_files_alone(pool, tmp_path):
    """The same versions, every locked file served, nothing asked for that is not there."""
    async with recording(chain_index(), pool, tmp_path) as witness:
        python = resolver(witness, pool, tmp_path)
        lines = [line(7, "app"), line(9, "broken")]
        found = await python.resolve("base", lines, PythonState(), python_version=PYTHON, system={})
        for artifact in found.artifacts:
            await witness.project_file("pypi", artifact.name, artifact.file, artifact.sha256)
    served = tmp_path / "served"
    for name, data in pypi_indexes(found.artifacts).items():
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        (served / name).write_bytes(data)
    for artifact in found.artifacts:
        place = served / "pool" / artifact.sha256[:2] / artifact.sha256 / artifact.file
        place.parent.mkdir(parents=True)
        place.write_bytes(pool.read(artifact.sha256))
    (served / "constraints.txt").write_text("leaf===1.0\n")
    constrained = ["--upgrade", "-c", "/served/constraints.txt"]
    outcome = await run_sandboxed(
        ["/usr/bin/python3", "-c", DRIVER, json.dumps([[*constrained, "app"]])],
        read_only={"/served": served},
        limits=Limits(seconds=120),
    )
    assert outcome.returncode == 0, outcome.stderr.decode()
    answer = json.loads(outcome.stdout)
    expected = {name: one.version for name, one in found.state.environments[VENV].items() if name != "broken"}
    assert {name: answer["installed"].get(name) for name in expected} == expected
    assert [path for code, path in answer["seen"] if code != 200] == []
    fetched = {path.rpartition("/")[2] for _, path in answer["seen"] if "/pool/" in path}
    wanted = {artifact.file for artifact in found.artifacts if artifact.name != "broken"}
    assert fetched == wanted
