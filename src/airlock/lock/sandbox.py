"""Where the code of others runs: build hooks of sdists, and uv, which may run such hooks itself.

Bubblewrap gives the code a user, process, IPC, host-name and network namespace of its own, a read-only ``/usr``
without local additions, and folders in memory; nothing of the user's files or environment is there, and no route
leads out. Only uv gets more: a loopback port that leads to the witness (``sandbox_relay.py``).

As root, one step stands before: a first bubblewrap binds what is needed to ``/mnt`` (which an ordinary user could not
reach in a closed folder), then an unprivileged user runs the very same sandbox. So the kernel's limits, which spare
root, hold for both (docs/ecosystems/python.md).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from airlock.core.errors import ToolError
from airlock.core.process import find_tool
from airlock.lock import sandbox_relay
from airlock.lock.sandbox_run import ANSWER, Limits, Outcome, run_bounded

__all__ = ["Limits", "Outcome", "Relay", "reserve_user", "run_sandboxed"]

_RUNS = 16  # at a time in one process
_runs = itertools.count()
_reserved: set[int] = set()
_FIRST_UID = 1_800_000_000  # below the end of the range that systemd leaves to containers; nobody's on a usual machine

_HIDDEN = ("/usr/local", "/usr/lib/python3/dist-packages", "/usr/src", "/usr/share/doc")
_WITNESS = "/run/airlock/witness.sock"
_RELAY = "/run/airlock/relay.py"
_RELAY_PYTHON = "/usr/bin/python3"


class Relay(msgspec.Struct, frozen=True):
    """The one way out: ``127.0.0.1:port`` inside leads to the unix socket ``socket`` outside."""

    port: int
    socket: Path


async def run_sandboxed(
    command: Sequence[str],
    *,
    read_only: Mapping[str, Path] | None = None,
    writable: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str = "/tmp",  # noqa: S108 (a file system of the sandbox's own)
    relay: Relay | None = None,
    limits: Limits | None = None,
    user: int | None = None,
) -> Outcome:
    """Run ``command`` (absolute path first) with nothing but what is named here.

    Args:
        read_only: path inside → file or folder outside.
        writable: path inside → folder outside; given to the sandbox's user when Airlock runs as root.
        environment: added to PATH, HOME, TMPDIR and a C locale.
        folder: working directory.
        user: as root, who it runs as: one of ``reserve_user`` for runs, one after the other, that share a large folder;
            by default somebody else each time.

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
        uid = user if user is not None else _new_uid()
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
    outcome = await run_bounded(arguments, limits)
    if outcome.returncode != 0 and not outcome.stopped and re.search(rb"(?m)^bwrap: ", outcome.stderr):
        words = outcome.stderr.decode("utf-8", "replace").strip()[-300:]
        raise ToolError(
            f"the sandbox for code of others cannot be made: {words}",
            remedy="Run airlock where unprivileged user namespaces are allowed (sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone; in a container, an unconfined seccomp profile).",
        )
    return outcome


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
    return [*words, "--setenv", "AIRLOCK_ANSWER", ANSWER]


def _limited(limits: Limits) -> list[str]:
    return [
        find_tool("prlimit", "util-linux"),
        f"--nproc={limits.processes}",
        f"--fsize={limits.file}",
        "--core=0",
        "--",
    ]


def reserve_user() -> int | None:
    """A user that no other run of this process has from now on; None where half of them are reserved already."""
    if len(_reserved) >= _RUNS // 2:
        return None
    uid = _new_uid()
    _reserved.add(uid)
    return uid


def _new_uid() -> int:
    """Who the code runs as when Airlock runs as root: owner of nothing, and another one for every run, since the kernel
    counts a user's processes together.
    """
    while True:
        uid = _FIRST_UID + os.getpid() * _RUNS + next(_runs) % _RUNS
        if uid not in _reserved:
            return uid


def _give(place: Path, uid: int) -> None:
    """Make the sandbox's user the owner of a folder of ours and of all in it; what is its own already stays."""
    if place.stat().st_uid == uid:  # a cache of tens of thousands of files, which that user alone has written
        return
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
