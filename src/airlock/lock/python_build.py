"""What building an sdist needs: the static ``build-system.requires`` and what its backend's hook adds (PEP 517, 518).

The static part is read from the archive without unpacking it; the hook runs in a sandbox without a network, in an
environment of the wheels that the static part resolves to.
"""

from __future__ import annotations

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
from airlock.lock.sandbox import Limits, run_sandboxed

DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
"""What pip takes where pyproject.toml names nothing."""
DEFAULT_BACKEND = "setuptools.build_meta:__legacy__"
HOOK_FAILED = "its get_requires_for_build_wheel hook does not run on the factory: static requirements alone"
MAX_PYPROJECT = 1 << 20  # bytes
_MAX_MEMBERS = 200_000
_LIMITS = Limits(seconds=180.0)


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


async def hook_requirements(
    archive: Path,
    file: str,
    system: BuildSystem,
    wheels: Sequence[tuple[str, Path]],
    *,
    minor: tuple[int, int],
    folder: str = "",
) -> tuple[str, ...] | None:
    """What ``get_requires_for_build_wheel`` answers in a sandbox; None where it fails there.

    Args:
        archive, file: the sdist (or an unpacked tree) and its real name.
        wheels: (file name, place) of everything the static requirements resolve to.
        minor: version of the interpreter.
    """
    sdist = f"/sdist/{file}"
    command, bound = _worker("requires", sdist, folder, system, wheels, minor)
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
    *,
    minor: tuple[int, int],
    environment: Mapping[str, str],
) -> str:
    """Build a wheel of an unpacked tree into ``out``, in the sandbox; returns the last words of the build.

    Args:
        folder: the tree; the sandbox may change it.
        wheels: (file name, place) of everything its build requirements resolve to.
    """
    command, bound = _worker("wheel", "/source", "", system, wheels, minor)
    outcome = await run_sandboxed(
        command,
        read_only=bound,
        writable={"/source": folder, "/out": out},
        environment=environment,
        limits=_LIMITS,
    )
    lines = (outcome.stdout + outcome.stderr).decode("utf-8", "replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith(("  File ", "    "))]
    return (
        " | ".join(line for line in said if "Error" in line or "error" in line)[-600:] or " | ".join(said[-4:])[-600:]
    )


def _worker(
    what: str,
    source: str,
    folder: str,
    system: BuildSystem,
    wheels: Sequence[tuple[str, Path]],
    minor: tuple[int, int],
) -> tuple[list[str], dict[str, Path]]:
    """Command line of the worker in the sandbox, and what must be bound for it."""
    worker = "/run/airlock/worker.py"
    inside = {f"/wheels/{name}": place for name, place in wheels}
    path = msgspec.json.encode(system.backend_path).decode()
    command = [python_path(minor), "-I", worker, what, source, folder, system.backend, path, *inside]
    hooks = Path(pyproject_hooks.__file__).parent
    bound = {worker: Path(python_hook_worker.__file__), "/run/airlock/hooks/pyproject_hooks": hooks}
    return command, bound | inside
