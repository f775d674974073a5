"""What building an sdist needs: the static ``build-system.requires`` and what its backend's hook adds (PEP 517, 518).

The static part is read from the archive without unpacking it; the hook runs in a sandbox without a network, in an
environment of the wheels that the static part resolves to. Many sdists are built with the same few wheels, so each is
unpacked and compiled once, in a sandbox of its own, and no hook can write to it.
"""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
import pyproject_hooks
from packaging.requirements import InvalidRequirement, Requirement

from airlock.core.errors import ResolutionError
from airlock.lock import python_hook_worker
from airlock.lock.archives import UNREADABLE
from airlock.lock.python_compile import python_path
from airlock.lock.sandbox import Limits, Outcome, run_sandboxed

DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""What pip takes where pyproject.toml names nothing."""
DEFAULT_BACKEND = "setuptools.build_meta:__legacy__"
HOOK_FAILED = "its get_requires_for_build_wheel hook does not run on the factory: static requirements alone"
MAX_PYPROJECT = 1 << 20  # bytes
_MAX_MEMBERS = 200_000
_LIMITS = Limits(seconds=180.0)
_WORKER = "/run/airlock/worker.py"


class BuildSystem(msgspec.Struct, frozen=True):
    """``[build-system]`` of an sdist, with pip's defaults filled in."""

    requires: tuple[str, ...] = DEFAULT_REQUIRES
    backend: str = DEFAULT_BACKEND
    backend_path: tuple[str, ...] = ()


def read_build_system(archive: Path, file: str, where: str, folder: str = "") -> BuildSystem:
    """Read ``pyproject.toml`` in the top folder of an sdist.

    Args:
        archive: where it lies.
        file: its real name, for messages.
        folder: below the top folder.

    Raises:
        ResolutionError: no archive, or a pyproject.toml that PEP 518 forbids.
    """
    return _parse(lambda: _member(archive, f"{folder}/pyproject.toml".lstrip("/")), file, where)


def parse_build_system(pyproject: bytes | None, file: str, where: str) -> BuildSystem:
    """The same of a ``pyproject.toml`` that was read; None where there is none.

    Raises:
        ResolutionError: see ``read_build_system``.
    """
    return _parse(lambda: pyproject, file, where)


def read_build_system_of_folder(folder: Path, where: str) -> BuildSystem:
    """The same of an unpacked tree.

    Raises:
        ResolutionError: see ``read_build_system``.
    """
    path = folder / "pyproject.toml"

    def read() -> bytes | None:
        if not path.exists():
            return None
        if path.is_symlink():
            raise ValueError("its pyproject.toml is a symbolic link")
        _bounded(path.stat().st_size)
        return path.read_bytes()

    return _parse(read, folder.name, where)


def _parse(read: Callable[[], bytes | None], file: str, where: str) -> BuildSystem:
    try:
        data = read()
        table = tomllib.loads(data.decode("utf-8")).get("build-system") if data is not None else None
    except UNREADABLE as error:
        raise ResolutionError(f"{where}: {file} cannot be read: {error}", remedy=_REMEDY) from None
    if table is None:
        return BuildSystem()
    requires: Any = table.get("requires") if isinstance(table, dict) else None
    if not _strings(requires):
        raise ResolutionError(f"{where}: {file}: build-system.requires is no list of requirements", remedy=_REMEDY)
    for one in requires:
        _requirement(one, file, where)
    path = table.get("backend-path", [])
    backend = table.get("build-backend", DEFAULT_BACKEND)
    if not isinstance(backend, str) or not _strings(path):
        raise ResolutionError(f"{where}: {file}: its build-system table is malformed", remedy=_REMEDY)
    return BuildSystem(tuple(requires), backend, tuple(path))


_REMEDY = "Pin another version of the project under [python] pins in the release definition."


def _strings(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _requirement(text: str, file: str, where: str) -> None:
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise ResolutionError(f"{where}: {file} needs {text!r}, which is no requirement", remedy=_REMEDY) from None
    if found.url:
        raise ResolutionError(f"{where}: {file} needs {text!r} from an address of its own", remedy=_REMEDY)


def _member(archive: Path, inner: str) -> bytes | None:
    """``<top>/<inner>`` of an archive, bounded."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist()[:_MAX_MEMBERS]:
                if info.filename.partition("/")[2] == inner:
                    _bounded(info.file_size)
                    return zipped.read(info)
        return None
    with tarfile.open(archive) as tarred:
        for number, member in enumerate(tarred):
            if number > _MAX_MEMBERS:
                raise ValueError("too many members")
            if member.isfile() and member.name.removeprefix("./").partition("/")[2] == inner:
                _bounded(member.size)
                stream = tarred.extractfile(member)
                return stream.read() if stream is not None else None
    return None


def _bounded(size: int) -> None:
    if size > MAX_PYPROJECT:
        raise ValueError("its pyproject.toml is larger than a mebibyte")


class Unpacked:
    """Wheels unpacked for the hooks of builds, each once.

    Args:
        work: a folder of its own; emptied.
        minor: version of the interpreter.
    """

    def __init__(self, work: Path, minor: tuple[int, int]) -> None:
        self._work, self.minor = work, minor
        self._folders: dict[Path, Path] = {}
        self._one_at_a_time = asyncio.Lock()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)

    async def folders(self, wheels: Sequence[tuple[str, Path]]) -> dict[str, Path]:
        """Place in a sandbox → folder, of (file name, place) of wheels.

        Raises:
            ResolutionError: one cannot be unpacked.
        """
        async with self._one_at_a_time:
            return {f"/wheels/{name}": await self._folder(name, place) for name, place in wheels}

    async def _folder(self, name: str, place: Path) -> Path:
        if place not in self._folders:
            folder = self._work / f"{len(self._folders)}"
            folder.mkdir()
            folder.chmod(0o755)  # whatever the umask: hooks run as others
            inside = f"/wheels/{name}"
            outcome = await run_sandboxed(
                [python_path(self.minor), "-I", _WORKER, "unpack", inside],
                read_only={_WORKER: Path(python_hook_worker.__file__), inside: place},
                writable={"/out": folder},
                limits=_LIMITS,
            )
            if outcome.returncode != 0:
                raise ResolutionError(f"{name} cannot be unpacked: {_last_words(outcome)}", remedy=_REMEDY)
            self._folders[place] = folder
        return self._folders[place]


async def hook_requirements(
    archive: Path,
    file: str,
    system: BuildSystem,
    wheels: Sequence[tuple[str, Path]],
    unpacked: Unpacked,
    *,
    folder: str = "",
) -> tuple[str, ...] | None:
    """What ``get_requires_for_build_wheel`` answers in a sandbox; None where it fails there.

    Args:
        archive, file: the sdist (or an unpacked tree) and its real name.
        wheels: (file name, place) of everything the static requirements resolve to.
        unpacked: where these are, or are put.

    Raises:
        ResolutionError: a wheel cannot be unpacked.
    """
    sdist = f"/sdist/{file}"
    command, bound = await _worker("requires", sdist, folder, system, wheels, unpacked)
    outcome = await run_sandboxed(command, read_only={**bound, sdist: archive}, limits=_LIMITS)
    if outcome.returncode != 0:
        return None
    try:
        needed = msgspec.json.decode(outcome.answer, type=list[str])
        for one in needed:
            if Requirement(one).url:
                return None
    except (msgspec.MsgspecError, InvalidRequirement):
        return None
    return tuple(needed)


async def build_wheel(
    folder: Path,
    system: BuildSystem,
    wheels: Sequence[tuple[str, Path]],
    out: Path,
    unpacked: Unpacked,
    *,
    environment: Mapping[str, str],
) -> str:
    """Build a wheel of an unpacked tree into ``out``, in the sandbox; returns the last words of the build.

    Args:
        folder: the tree; the sandbox may change it.
        wheels: (file name, place) of everything its build requirements resolve to.
        unpacked: where these are, or are put.

    Raises:
        ResolutionError: a wheel cannot be unpacked.
    """
    command, bound = await _worker("wheel", "/source", "", system, wheels, unpacked)
    outcome = await run_sandboxed(
        command,
        read_only=bound,
        writable={"/source": folder, "/out": out},
        environment=environment,
        limits=_LIMITS,
    )
    return _last_words(outcome)


def _last_words(outcome: Outcome) -> str:
    lines = (outcome.stdout + outcome.stderr).decode("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith(("  File ", "    "))]
    return (
        " | ".join(line for line in said if "Error" in line or "error" in line)[-600:] or " | ".join(said[-4:])[-600:]
    )


async def _worker(
    what: str,
    source: str,
    folder: str,
    system: BuildSystem,
    wheels: Sequence[tuple[str, Path]],
    unpacked: Unpacked,
) -> tuple[list[str], dict[str, Path]]:
    """Command line of the worker in the sandbox, and what must be bound for it."""
    places = await unpacked.folders(wheels)
    path = msgspec.json.encode(system.backend_path).decode()
    command = [python_path(unpacked.minor), "-I", _WORKER, what, source, folder, system.backend, path, *places]
    hooks = Path(pyproject_hooks.__file__).parent
    bound = {_WORKER: Path(python_hook_worker.__file__), "/run/airlock/hooks/pyproject_hooks": hooks}
    return command, bound | places
