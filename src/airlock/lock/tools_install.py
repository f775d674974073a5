"""The environment that Kolla runs in, at the factory and at the site: made of locked wheels alone, offline."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import uv

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError, ToolError
from airlock.core.files import copy_file, exclusive, fsync_directory, write_file
from airlock.core.paths import safe_component
from airlock.core.process import PATH, clean_environment, run
from airlock.lock.model import Artifact

PYTHON = (3, 11)
"""The interpreter that tools are locked for: Debian 12's."""
_COMPLETE = "airlock-complete"
_RECIPE = 1
"""Raised when the way environments are made changes."""


async def tools_environment(artifacts: Iterable[Artifact], content: Callable[[Artifact], Path], cache: Path) -> Path:
    """The Python of an environment that holds exactly these wheels (those for this machine); made when it is missing.

    It is keyed by the digest of the set, built under a temporary name and renamed, so an interrupted one is never used.

    Args:
        artifacts: wheels; others are left out.
        content: where a wheel's bytes lie.
        cache: the folder environments are kept in.

    Raises:
        IntegrityError: a wheel is missing or not what was locked.
        ToolError: there is no Python 3.11, or uv cannot install the set.
    """
    machine = platform.machine()
    wheels = sorted(
        {one for one in artifacts if one.kind == "wheel" and one.arch in ("any", machine)}, key=lambda one: one.id
    )
    python = find_python()
    identity = {"recipe": _RECIPE, "python": python, "wheels": [[one.file, one.sha256] for one in wheels]}
    target = cache / sha256_bytes(canonical(identity))[:32]
    if not (target / _COMPLETE).exists():
        await asyncio.to_thread(_make, wheels, content, python, cache, target)
    return target / "bin" / "python"


def find_python() -> str:
    """Absolute path of a CPython of the version that tools are locked for.

    Raises:
        ToolError: there is none.
    """
    name = f"python{PYTHON[0]}.{PYTHON[1]}"
    if found := shutil.which(name, path=PATH):
        return found
    base = Path(sys.base_prefix, "bin", name)
    if sys.version_info[:2] == PYTHON and base.exists():
        return str(base)
    raise ToolError(f"there is no {name} on this machine", remedy=f"apt-get install --no-install-recommends {name}")


def _make(wheels: list[Artifact], content: Callable[[Artifact], Path], python: str, cache: Path, target: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(cache / "lock", "the set of Kolla environments"):
        if (target / _COMPLETE).exists():
            return
        with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as name:
            work = Path(name)
            files = [_checked(wheel, content(wheel), work / "wheels") for wheel in wheels]
            made = work / "environment"
            quiet: list[str | Path] = ["--no-config", "--offline", "--quiet", "--color", "never"]
            quiet += ["--cache-dir", work / "cache"]
            program = uv.find_uv_bin()
            environment = clean_environment(work, UV_PYTHON_DOWNLOADS="never")
            # relocatable: what uv writes into scripts does not name the temporary folder
            venv: list[str | Path] = [program, "venv", *quiet, "--relocatable", "--python", python, made]
            install: list[str | Path] = [program, "pip", "install", *quiet, "--no-index", "--no-deps"]
            install += ["--link-mode", "copy", "--compile-bytecode", "--python", made / "bin" / "python", *files]
            for command in (venv, install) if files else (venv,):
                result = run(command, env=environment)
                if result.returncode != 0:
                    text = result.stderr.decode("utf-8", "replace").strip()
                    raise ToolError(
                        f"uv cannot make Kolla's environment of the locked wheels: {text[-600:]}",
                        remedy="Check the locked tools: `airlock validate`; then `airlock lock` again.",
                    )
            write_file(made / _COMPLETE, b"")
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
            fsync_directory(cache)


def _checked(wheel: Artifact, source: Path, folder: Path) -> Path:
    """A copy under the wheel's own name, checked while it is made."""
    target = folder / safe_component(wheel.file)
    try:
        copy_file(source, target, sha256=wheel.sha256, size=wheel.size, durable=False)
    except FileNotFoundError:
        raise IntegrityError(
            f"{wheel.id} is missing", remedy="Run `airlock refresh`, or import the bundle again."
        ) from None
    return target
