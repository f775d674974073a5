"""The sandbox against code that wants out: real bubblewrap, real sockets, real files."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import airlock
from airlock.core.errors import ResolutionError, ToolError
from airlock.lock.python_build import BuildSystem, Unpacked, hook_requirements, read_build_system
from airlock.lock.sandbox import Limits, Relay, run_sandboxed
from airlock.lock.sandbox_run import resident

PYTHON = "/usr/bin/python3"

HOSTILE = """
import ctypes, glob, os, socket, subprocess, sys

def attempt(name, action, found):
    try:
        if action():
            found.append("leak-" + name)
    except BaseException:
        pass

def get_requires_for_build_wheel(config_settings=None):
    found = ["ran"]
    def tcp():
        socket.create_connection(("127.0.0.1", {port}), timeout=1)
        return True
    def tcp_out():
        socket.create_connection(("192.0.2.1", 80), timeout=1)
        return True
    def dns():
        socket.getaddrinfo("mirror.example.org", 80)
        return True
    def udp():
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b"out", ("192.0.2.53", 53))
        return True
    def abstract():
        s = socket.socket(socket.AF_UNIX); s.connect("\\0airlock-test-{port}")
        return True
    def write(path):
        open(path, "w").write("x")
        return True
    def setuid():
        os.setuid(0)
        return os.open("/usr/owned", os.O_CREAT | os.O_WRONLY)
    def namespaces():
        return ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0
    for name, action in {{
        "file": lambda: open({secret!r}).read(), "passwd": lambda: open("/etc/passwd").read(),
        "home": lambda: os.listdir("/root"), "environment": lambda: os.environ.get("AIRLOCK_TEST_SECRET"),
        "parents-environment": lambda: any("AIRLOCK_TEST_SECRET" in open(p, "rb").read().decode("latin-1")
                                           for p in glob.glob("/proc/[0-9]*/environ")),
        "processes": lambda: len(glob.glob("/proc/[0-9]*")) > 12,
        "disks": lambda: [n for n in os.listdir("/dev") if n.startswith(("sd", "vd", "nvme"))],
        "tcp": tcp, "tcp-out": tcp_out, "dns": dns, "udp": udp, "abstract": abstract,
        "usr": lambda: write("/usr/owned"), "etc": lambda: write("/etc/owned"), "root": lambda: write("/owned"),
        "dev": lambda: write("/dev/owned"), "sysctl": lambda: write("/proc/sys/kernel/hostname"),
        "sdist": lambda: write(glob.glob("/sdist/*")[0]),
        "setuid": setuid, "namespaces": namespaces,
    }}.items():
        attempt(name, action, found)
    for _ in range(2000):
        print("noise " * 1000)
        print("noise " * 1000, file=sys.stderr)
    for _ in range(60):
        if os.fork() == 0:
            import time; time.sleep(30); os._exit(0)
    return found
"""


def running() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def sdist(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"hostile-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def listeners() -> Iterator[tuple[int, list[str]]]:
    """A TCP port and an abstract unix socket of the host; who connects is noted."""
    seen: list[str] = []
    tcp = socket.create_server(("127.0.0.1", 0))
    port = tcp.getsockname()[1]
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0airlock-test-{port}")
    abstract.listen()

    def accept(listener: socket.socket, name: str) -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return
            seen.append(name)

    threads = [threading.Thread(target=accept, args=pair) for pair in ((tcp, "tcp"), (abstract, "abstract"))]
    for thread in threads:
        thread.start()
    yield port, seen
    for one in (tcp, abstract):
        one.shutdown(socket.SHUT_RDWR)
        one.close()
    for thread in threads:
        thread.join()


async def test_a_hostile_sdist_gets_nothing_and_leaves_nothing(tmp_path, listeners, monkeypatch):
    port, seen = listeners
    monkeypatch.setenv("AIRLOCK_TEST_SECRET", "hush")
    secret = tmp_path / "secret"
    secret.write_text("hush")
    backend = HOSTILE.format(port=port, secret=str(secret))
    project = '[build-system]\nrequires = []\nbuild-backend = "hostile"\nbackend-path = ["."]\n'
    archive = sdist(tmp_path / "hostile-1.0.tar.gz", {"pyproject.toml": project, "hostile.py": backend})
    before = archive.read_bytes()
    system = read_build_system(archive, archive.name, "test")
    began = time.monotonic()
    answer = await hook_requirements(
        archive, archive.name, system, [], Unpacked(tmp_path / "wheels", sys.version_info[:2])
    )
    assert answer == ("ran",)
    assert seen == []
    assert archive.read_bytes() == before
    assert time.monotonic() - began < 25, "its children were waited for"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["hostile-1.0.tar.gz", "secret", "wheels"]


BACKEND = "def get_requires_for_build_wheel(config_settings=None):\n    return ['as-it-was']\n"
MEDDLER = """
import pathlib, theirs
def get_requires_for_build_wheel(config_settings=None):
    found = theirs.get_requires_for_build_wheel()
    for place in (theirs.__file__, theirs.__cached__):
        try:
            pathlib.Path(place).write_text("changed")
            found.append("written")
        except OSError:
            pass
    return found
"""


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, text in files.items():
            zipped.writestr(name, text)
    return path


async def test_a_wheel_is_unpacked_once_compiled_and_no_hook_can_change_it_for_the_next(tmp_path):
    made = wheel(tmp_path / "theirs-1-py3-none-any.whl", {"theirs.py": BACKEND, "theirs-1.data/data/../x": ""})
    project = '[build-system]\nrequires = []\nbuild-backend = "meddler"\nbackend-path = ["."]\n'
    meddler = sdist(tmp_path / "meddler-1.0.tar.gz", {"pyproject.toml": project, "meddler.py": MEDDLER})
    good = sdist(tmp_path / "good-1.0.tar.gz", {"a": ""})
    unpacked = Unpacked(tmp_path / "wheels", sys.version_info[:2])
    systems = {
        meddler: read_build_system(meddler, meddler.name, "test"),
        good: BuildSystem(requires=(), backend="theirs"),
    }
    umask = os.umask(0o077)
    try:
        answers = [
            await hook_requirements(one, one.name, system, [(made.name, made)], unpacked)
            for one, system in systems.items()
        ]
    finally:
        os.umask(umask)
    assert answers == [("as-it-was",), ("as-it-was",)]
    files = {path.relative_to(tmp_path / "wheels").parts for path in (tmp_path / "wheels").rglob("*") if path.is_file()}
    assert files == {("0", "theirs.py"), ("0", "__pycache__", f"theirs.{sys.implementation.cache_tag}.pyc")}


async def test_a_wheel_that_cannot_be_unpacked_is_named(tmp_path):
    bad = tmp_path / "bad-1-py3-none-any.whl"
    bad.write_text("no wheel")
    archive = sdist(tmp_path / "good-1.0.tar.gz", {"a": ""})
    unpacked = Unpacked(tmp_path / "wheels", sys.version_info[:2])
    with pytest.raises(ResolutionError, match=r"bad-1-py3-none-any\.whl cannot be unpacked: .*not a zip file"):
        await hook_requirements(archive, archive.name, BuildSystem(requires=()), [(bad.name, bad)], unpacked)


async def test_an_archive_that_unpacks_outside_its_folder_reaches_nothing(tmp_path):
    archive = tmp_path / "evil-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        for name in ("evil-1.0/a", "../../../../usr/owned", f"{tmp_path}/owned"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tarred.addfile(member, io.BytesIO(b"x"))
    await hook_requirements(
        archive, archive.name, BuildSystem(requires=()), [], Unpacked(tmp_path / "wheels", sys.version_info[:2])
    )
    assert not Path("/usr/owned").exists()
    assert not (tmp_path / "owned").exists()


async def test_time_is_bounded_and_nothing_survives(tmp_path):
    mark = f"7{os.getpid()}"
    code = f"import subprocess, time; subprocess.Popen(['sleep', '{mark}'], start_new_session=True); time.sleep(600)"
    began = time.monotonic()
    outcome = await run_sandboxed([PYTHON, "-c", code], limits=Limits(seconds=1.0))
    assert outcome.stopped == "time"
    assert outcome.returncode != 0
    assert time.monotonic() - began < 5
    await asyncio.sleep(0.2)
    assert mark not in running()


async def test_cancelling_ends_what_runs(tmp_path):
    mark = f"8{os.getpid()}"
    task = asyncio.create_task(run_sandboxed(["/bin/sleep", mark]))
    await asyncio.sleep(0.5)
    assert mark in running()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.2)
    assert mark not in running()


async def test_memory_is_bounded_over_all_processes():
    code = (
        "import os, time\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        held = bytearray(os.urandom(1 << 20)) * 100; time.sleep(60)\n"
        "time.sleep(60)"
    )
    outcome = await run_sandboxed([PYTHON, "-c", code], limits=Limits(memory=250 << 20, seconds=30))
    assert outcome.stopped == "memory"


async def test_the_number_of_processes_is_bounded():
    code = (
        "import os, time\n"
        "for count in range(500):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "    except BlockingIOError: break\n"
        "print(count)"
    )
    outcome = await run_sandboxed([PYTHON, "-c", code], limits=Limits(processes=40, seconds=30))
    assert outcome.returncode == 0
    assert 20 < int(outcome.stdout) < 40


async def test_scratch_space_and_file_size_are_bounded():
    code = (
        "import errno\n"
        "def fill(path):\n"
        "    try:\n"
        "        with open(path, 'wb') as stream:\n"
        "            for _ in range(200): stream.write(bytes(1 << 20))\n"
        "        return 'filled'\n"
        "    except OSError as error: return errno.errorcode[error.errno]\n"
        "print([fill(place + '/x') for place in ('/tmp', '/home', '/dev/shm')])"
    )
    outcome = await run_sandboxed([PYTHON, "-c", code], limits=Limits(memory=100 << 20, seconds=30))
    assert outcome.stdout.split() == [b"['ENOSPC',", b"'ENOSPC',", b"'ENOSPC']"]
    outcome = await run_sandboxed([PYTHON, "-c", code], limits=Limits(file=10 << 20, seconds=30))
    assert b"EFBIG" in outcome.stdout


async def test_output_is_bounded_to_its_end():
    code = "import sys; sys.stdout.write('x' * (50 << 20)); print('the end')"
    outcome = await run_sandboxed([PYTHON, "-c", code], limits=Limits(output=1000))
    assert outcome.returncode == 0
    assert len(outcome.stdout) == 1000
    assert outcome.stdout.endswith(b"xthe end\n")


async def test_writable_folders_are_written_and_nothing_else_of_the_host(tmp_path):
    out, given = tmp_path / "closed" / "out", tmp_path / "closed" / "given"
    out.mkdir(parents=True)
    given.write_text("input")
    (tmp_path / "closed").chmod(0o700)
    command = ["/bin/sh", "-c", "cp /in/given /out/copy; mkdir /out/more; echo x > /in/given"]
    outcome = await run_sandboxed(command, read_only={"/in/given": given}, writable={"/out": out})
    assert (out / "copy").read_text() == "input"
    assert given.read_text() == "input"
    assert b"Read-only" in outcome.stderr
    again = await run_sandboxed(["/bin/sh", "-c", "echo y > /out/more/file"], writable={"/out": out})
    assert again.returncode == 0
    assert (out / "more/file").read_text() == "y\n"


async def test_only_the_relays_port_leads_out_and_only_to_the_witness(tmp_path):
    place = tmp_path / "witness.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read(100)
        writer.write(b"heard " + data)
        writer.write_eof()
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(place))
    host = socket.create_server(("127.0.0.1", 0))  # the same number, on the host's loopback
    port = host.getsockname()[1]
    code = (
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); s.sendall(b'hello')\n"
        "print(s.makefile('rb').read())\n"
        "try: socket.create_connection(('127.0.0.1', 1), timeout=1)\n"
        "except OSError as error: print(type(error).__name__)"
    )
    outcome = await run_sandboxed([PYTHON, "-c", code, str(port)], relay=Relay(port, place))
    assert outcome.stdout == b"b'heard hello'\nConnectionRefusedError\n"
    assert outcome.returncode == 0
    outcome = await run_sandboxed(["/bin/sh", "-c", "exit 7"], relay=Relay(port, place))
    assert outcome.returncode == 7
    host.close()
    server.close()
    await server.wait_closed()


async def test_a_sandbox_that_cannot_be_made_is_a_tool_error(tmp_path):
    with pytest.raises(ToolError, match="sandbox"):
        await run_sandboxed(["/bin/true"], read_only={"/in": tmp_path / "missing"})


@pytest.mark.skipif(os.geteuid() != 0, reason="this is the ordinary user already")
def test_an_ordinary_user_gets_the_same(tmp_path):
    source = Path(airlock.__file__).parents[1]
    packages = Path(sys.modules["msgspec"].__file__ or "").parents[1]
    code = (
        f"import sys; sys.path[:0] = [{str(source)!r}, {str(packages)!r}]\n"
        "import asyncio\n"
        "from airlock.lock.sandbox import run_sandboxed\n"
        "print(asyncio.run(run_sandboxed(['/bin/sh', '-c', 'id -u; ls /home; cat /proc/net/dev | wc -l'])))"
    )
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    found = subprocess.run([*drop, PYTHON, "-B", "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert "returncode=0, stdout=b'1000\\n3\\n'" in found.stdout, found.stderr


def test_resident_counts_descendants():
    with subprocess.Popen(
        [PYTHON, "-c", "import subprocess; subprocess.run(['python3', '-c', 'x=b\"x\"*(80<<20); input()'])"],
        stdin=subprocess.PIPE,
    ) as process:
        for _ in range(100):
            if resident(process.pid) > 80 << 20:
                break
            time.sleep(0.1)
        else:
            pytest.fail("the child's memory is not counted")
        process.communicate(b"\n")
