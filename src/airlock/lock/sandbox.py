"""Where the code of others runs: build hooks of sdists, and uv, which may run such hooks itself.

Bubblewrap gives the code a user, process, IPC, host-name and network namespace of its own, a read-only ``/usr``
without local additions, and folders in memory; nothing of the user's files or environment is there, and no route
leads out. Only uv gets more: a loopback port that leads to the witness (``sandbox_relay.py``).

As root, one step stands before: a first bubblewrap binds what is needed to ``/mnt`` (which an ordinary user could not
reach in a closed folder), then an unprivileged user runs the very same sandbox. So the kernel's limits, which spare
root, hold for both (docs/ecosystems/python.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from airlock.core.errors import ToolError
from airlock.core.process import clean_environment, find_tool
from airlock.lock import sandbox_relay

_RUNS = 16  # at a time in one process
_runs = itertools.count()
_FIRST_UID = 1_800_000_000  # below the end of the range that systemd leaves to containers; nobody's on a usual machine

_HIDDEN = ("/usr/local", "/usr/lib/python3/dist-packages", "/usr/src", "/usr/share/doc")
_POLL = 0.2  # seconds between two looks at the memory in use
_ANSWER_LIMIT = 4 << 20  # bytes
_WITNESS = "/run/airlock/witness.sock"
_RELAY = "/run/airlock/relay.py"
_ANSWER_WORD = "<answer>"  # in the argument list, until the pipe has a number
_RELAY_PYTHON = "/usr/bin/python3"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one run.

    Attributes:
        seconds: wall clock.
        memory: bytes resident in all processes together; what lies in ``/tmp`` has the same bound again.
        processes: processes and threads at a time.
        output: bytes kept of standard output and of standard error, the last ones.
        file: bytes that one file may have.
    """

    seconds: float = 120.0
    memory: int = 2 << 30
    processes: int = 256
    output: int = 256 << 10
    file: int = 1 << 30


class Relay(msgspec.Struct, frozen=True):
    """The one way out: ``127.0.0.1:port`` inside leads to the unix socket ``socket`` outside."""

    port: int
    socket: Path


class Outcome(msgspec.Struct, frozen=True):
    """What a run left behind.

    Attributes:
        returncode: exit status; negative or above 128 for a signal.
        stdout, stderr: the last ``Limits.output`` bytes of each.
        answer: what was written to the file descriptor whose number the environment's AIRLOCK_ANSWER holds.
        stopped: ``time`` or ``memory`` where Airlock ended it; empty otherwise.
    """

    returncode: int
    stdout: bytes
    stderr: bytes
    answer: bytes
    stopped: str


async def run_sandboxed(
    command: Sequence[str],
    *,
    read_only: Mapping[str, Path] | None = None,
    writable: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str = "/tmp",  # noqa: S108 (a file system of the sandbox's own)
    relay: Relay | None = None,
    limits: Limits | None = None,
) -> Outcome:
    """Run ``command`` (absolute path first) with nothing but what is named here.

    Args:
        read_only: path inside → file or folder outside.
        writable: path inside → folder outside; given to the sandbox's user when Airlock runs as root.
        environment: added to PATH, HOME, TMPDIR and a C locale.
        folder: working directory.

    Raises:
        ToolError: bubblewrap is missing, or this kernel or container does not let it work.
    """
    limits = limits or Limits()
    read_only = dict(read_only or {})
    inner = list(command)
    if relay is not None:
        read_only[_RELAY] = Path(sandbox_relay.__file__)
        read_only[_WITNESS] = relay.socket
        inner = [_RELAY_PYTHON, "-I", _RELAY, str(relay.port), _WITNESS, *inner]
    outer: list[str] = []
    writable = writable or {}
    if os.geteuid() == 0:
        uid = _new_uid()
        for place in (*writable.values(), *([relay.socket] if relay else [])):
            _give(place, uid)
        outer, read_only, writable = _as_root(uid, read_only, writable)
    bound = [word for inside, place in read_only.items() for word in ("--ro-bind", str(place), inside)]
    bound += [word for inside, place in writable.items() for word in ("--bind", str(place), inside)]
    arguments = [
        *outer,
        *_limited(limits),
        *_bubblewrap(limits, folder),
        *bound,
        *_variables(environment or {}),
        *("--remount-ro", "/", "--remount-ro", "/dev", "--", *inner),
    ]
    return await _run(arguments, limits)


def _bubblewrap(limits: Limits, folder: str) -> list[str]:
    private = ["--unshare-user", "--disable-userns", "--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts"]
    private += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    private += ["--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--clearenv"]
    system = ["--ro-bind", "/usr", "/usr"]
    for link in ("bin", "sbin", "lib", "lib32", "lib64"):
        if Path("/usr", link).exists():
            system += ["--symlink", f"usr/{link}", f"/{link}"]
    for hidden in _HIDDEN:
        if Path(hidden).exists():
            system += ["--tmpfs", hidden, "--remount-ro", hidden]
    scratch = str(limits.memory)
    places = ["--proc", "/proc", "--dev", "/dev", "--dir", "/run/airlock", "--dir", "/etc"]
    for place in ("/tmp", "/home", "/dev/shm"):  # noqa: S108 (made here)
        places += ["--size", scratch, "--tmpfs", place]
    return [find_tool("bwrap", "bubblewrap"), *private, *system, *places, "--chdir", folder]


def _variables(extra: Mapping[str, str]) -> list[str]:
    variables = {
        "PATH": "/usr/bin:/usr/sbin",
        "HOME": "/home",
        "TMPDIR": "/tmp",  # noqa: S108
        "LC_ALL": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **extra,
    }
    words = [word for key, value in variables.items() for word in ("--setenv", key, value)]
    return [*words, "--setenv", "AIRLOCK_ANSWER", _ANSWER_WORD]


def _limited(limits: Limits) -> list[str]:
    return [
        find_tool("prlimit", "util-linux"),
        f"--nproc={limits.processes}",
        f"--fsize={limits.file}",
        "--core=0",
        "--",
    ]


def _new_uid() -> int:
    """Who the code runs as when Airlock runs as root: owner of nothing, and another one for every run, since the kernel
    counts a user's processes together.
    """
    return _FIRST_UID + os.getpid() * _RUNS + next(_runs) % _RUNS


def _give(place: Path, uid: int) -> None:
    """Make the sandbox's user the owner of a folder of ours and of all in it."""
    os.chown(place, uid, uid)
    if place.is_dir():
        for root, folders, files in os.walk(place):
            for name in (*folders, *files):
                os.chown(Path(root, name), uid, uid, follow_symlinks=False)


def _as_root(
    uid: int, read_only: Mapping[str, Path], writable: Mapping[str, Path]
) -> tuple[list[str], dict[str, Path], dict[str, Path]]:
    """The step before as root: what to put in front, and the same mappings with reachable places."""
    outer = [find_tool("bwrap", "bubblewrap"), "--die-with-parent", "--dev-bind", "/", "/", "--tmpfs", "/mnt"]
    places: dict[str, Path] = {}
    for number, (inside, place) in enumerate({**read_only, **writable}.items()):
        places[inside] = Path("/mnt", str(number))
        outer += ["--bind" if inside in writable else "--ro-bind", str(place), str(places[inside])]
    drop = [find_tool("setpriv", "util-linux"), f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    drop += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    return (
        [*outer, "--", *drop],
        {inside: places[inside] for inside in read_only},
        {inside: places[inside] for inside in writable},
    )


async def _run(arguments: Sequence[str], limits: Limits) -> Outcome:
    """Run it with a pipe for the answer, under the two bounds that the kernel does not hold for us."""
    reader, writer = os.pipe()
    answer = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(answer), os.fdopen(reader, "rb")
    )
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(writer) if word == _ANSWER_WORD else word for word in arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(),
            cwd="/",
            pass_fds=(writer,),
        )
    finally:
        os.close(writer)
    assert process.stdout is not None
    assert process.stderr is not None
    watch = asyncio.create_task(_watch(process, limits))
    try:
        stdout, stderr, data, _ = await asyncio.gather(
            _tail(process.stdout, limits.output),
            _tail(process.stderr, limits.output),
            _tail(answer, _ANSWER_LIMIT),
            process.wait(),
        )
        stopped = "" if not watch.done() else watch.result()
    finally:
        watch.cancel()
        if process.returncode is None:
            _end(process.pid)
            await process.wait()
        transport.close()
    code = process.returncode or 0
    if code != 0 and not stopped and (stderr.startswith(b"bwrap: ") or b"\nbwrap: " in stderr):
        raise ToolError(
            f"the sandbox for code of others cannot be made: {stderr.decode('utf-8', 'replace').strip()[-300:]}",
            remedy="Run airlock where unprivileged user namespaces are allowed (sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone; in a container, an unconfined seccomp profile).",
        )
    return Outcome(code, stdout, stderr, data, stopped)


async def _tail(stream: asyncio.StreamReader, limit: int) -> bytes:
    """Read to the end, keep the last ``limit`` bytes."""
    kept = bytearray()
    while data := await stream.read(1 << 16):
        kept += data
        if len(kept) > 2 * limit:
            del kept[:-limit]
    return bytes(kept[-limit:])


async def _watch(process: asyncio.subprocess.Process, limits: Limits) -> str:
    """End the process when it takes too long or too much; returns why (``time``, ``memory``)."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limits.seconds
    while True:
        await asyncio.sleep(_POLL)
        stopped = "time" if loop.time() > end else "memory" if resident(process.pid) > limits.memory else ""
        if stopped:
            _end(process.pid)
            return stopped


def resident(root: int) -> int:
    """Bytes resident in a process and all its descendants."""
    return sum(_family(root).values())


def _family(root: int) -> dict[int, int]:
    """Process id → bytes resident, of a process and all its descendants (proc(5): stat, fields 4 and 24)."""
    page = os.sysconf("SC_PAGE_SIZE")
    children: dict[int, list[int]] = {}
    size: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (five times as fast, and this runs several times a second)
        if not entry.isdecimal():
            continue
        try:
            fields = Path("/proc", entry, "stat").read_text("latin-1").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] == "Z":
            continue
        children.setdefault(int(fields[1]), []).append(int(entry))
        size[int(entry)] = int(fields[21]) * page
    found: dict[int, int] = {}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if one in size and one not in found:
            found[one] = size[one]
            waiting += children.get(one, [])
    return found


def _end(root: int) -> None:
    """Kill a process and all its descendants, these first: bubblewrap's own dying together works only once it has set
    itself up, and what is left over then has no parent to be found by.
    """
    while True:
        others = _family(root).keys() - {root}
        for one in others or {root}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        if not others:
            return
        time.sleep(0.005)
