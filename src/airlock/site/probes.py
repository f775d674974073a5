"""What ``airlock doctor`` tries on this machine. Each probe does the thing itself, in a place that goes with it.

A probe returns what it found, raises ``LackingError`` where the thing does not work, and ``UnsureError`` where this
user cannot tell. What a sealed room takes from the kernel and the engine is in ``room_probes``.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import uv

from airlock.core.errors import AirlockError
from airlock.core.gerrit_settings import GerritPlace
from airlock.core.process import clean_environment, find_tool, last_lines, run
from airlock.core.zuul_settings import ZuulPlace
from airlock.gerrit.client import GerritClient
from airlock.kolla import shell
from airlock.lock.sandbox import Limits, run_sandboxed
from airlock.site.zuul_access import client_of, require_job

TIMEOUT = 10.0  # seconds a probe may take before it counts as lacking


class LackingError(Exception):
    """It is missing or does not work; the text says how."""


class UnsureError(Exception):
    """This user cannot find out; the text says why."""


def call(*command: str | Path, data: bytes | None = None, cwd: Path | None = None) -> str:
    """Run a program; its standard output.

    Raises:
        LackingError: it is missing, fails, or takes too long.
    """
    try:
        result = run(command, data=data, cwd=cwd, timeout=TIMEOUT, env=clean_environment(Path("/")))
    except (AirlockError, OSError) as error:
        raise LackingError(str(error)) from None
    except subprocess.TimeoutExpired:
        raise LackingError(f"{command[0]} did not answer within {TIMEOUT:.0f} s") from None
    if result.returncode != 0:
        raise LackingError(last_lines(result, 2) or f"{command[0]} failed with {result.returncode}")
    return result.stdout.decode("utf-8", "replace")


def is_root() -> bool:
    """Whether this process may what building and importing want."""
    return os.geteuid() == 0


def program(name: str, package: str, version: tuple[str, ...] = (), minimum: str = "") -> str:
    """A program is there, starts and is new enough; the version it says (or its path)."""
    try:
        path = find_tool(name, package)
    except AirlockError as error:
        raise LackingError(error.message) from None
    if not version:
        return path
    said = call(path, *version)
    found = re.search(r"\d+(?:\.\d+)+", said)
    if found is None:
        raise LackingError(f"{path} {' '.join(version)} names no version: {said[:80]!r}")
    if minimum and _numbers(found[0]) < _numbers(minimum):
        raise LackingError(f"{path} is version {found[0]}; {minimum} is the oldest that works")
    return found[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def root() -> str:
    """Root's rights."""
    if not is_root():
        raise LackingError(f"this is user {os.geteuid()}")
    return "this is root"


def python() -> str:
    """This interpreter, and Debian's own with venv, which the site's Airlock is installed with."""
    code = "import ensurepip, platform, sys, venv; assert sys.version_info >= (3, 11); print(platform.python_version())"
    theirs = call("/usr/bin/python3", "-I", "-c", code).strip()
    return f"{platform.python_version()}; /usr/bin/python3 is {theirs}, with venv"


def solver() -> str:
    """uv, which resolves Python packages and makes Kolla's environment."""
    return call(uv.find_uv_bin(), "--version").strip()


def shell_parser() -> str:
    """shfmt, which reads the shell in Dockerfiles."""
    try:
        shell.parse("echo one && echo two")
    except (AirlockError, shell.ShellSyntaxError) as error:
        raise LackingError(str(error)) from None
    return "reads shell"


def keyring(path: Path) -> str:
    """A keyring file that can be read and begins with a public key (RFC 4880: packet tag 6), or armoured."""
    try:
        head = path.read_bytes()[:32]
    except OSError as error:
        raise LackingError(f"{path}: {error.strerror}") from None
    if head.startswith(b"-----BEGIN PGP PUBLIC KEY") or (head and head[0] in {0x98, 0x99, 0x9A, 0xC6}):
        return str(path)
    raise LackingError(f"{path} holds no public key")


def space(place: Path, needed: int) -> str:
    """Free bytes where the environment will lie."""
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise LackingError(f"{free / 1e9:.1f} GB free at {place}; a set like keystone's wants {needed / 1e9:.0f} GB")
    return f"{free / 1e9:.1f} GB free at {place}"


def gerrit(place: GerritPlace) -> str:
    """The site's Gerrit answers and knows the user by the password; whether that user may make projects."""

    async def ask() -> tuple[str, bool]:
        async with GerritClient(place) as client:
            await client.account()
            return await client.version(), await client.may_create_projects()

    try:
        version, may_create = asyncio.run(ask())
    except AirlockError as error:
        raise LackingError(error.message) from None
    projects = "may make projects" if may_create else "may not make projects, so those of a bundle must be there"
    return f"Gerrit {version} at {place.address} takes the password of {place.user}, who {projects}"


def zuul(place: ZuulPlace) -> str:
    """The site's Zuul answers, knows the token as an administrator's, and runs the job for the project."""

    async def ask() -> tuple[str, bool]:
        client, requester = client_of(place)
        async with client:
            await require_job(client, place)
            return requester, await client.may_administer()

    try:
        requester, administers = asyncio.run(ask())
    except AirlockError as error:
        raise LackingError(error.message) from None
    if not administers:
        raise LackingError(f"Zuul at {place.address} does not let {requester} administer tenant {place.tenant}")
    return f"Zuul at {place.address} takes the token of {requester}, and runs {place.job} for {place.project}"


def sandbox() -> str:
    """The sandbox for code of others can be made, and no route leads out of it."""
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    limits = Limits(seconds=TIMEOUT)
    try:
        harmless, outward = (
            asyncio.run(run_sandboxed(["/usr/bin/python3", "-IS", "-c", program], limits=limits))
            for program in ("pass", code)
        )
    except AirlockError as error:
        raise LackingError(error.message) from None
    if harmless.returncode != 0:
        said = harmless.stderr.decode("utf-8", "replace").strip()[-300:]
        raise LackingError(f"nothing runs in the sandbox: {said or harmless.stopped or harmless.returncode}")
    if outward.returncode == 0:
        raise LackingError("the sandbox still has a network")
    return "made one; nothing leaves it"
