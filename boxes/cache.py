"""What is made once a machine and shared by all boxes: downloads, unpacked servers, virtual environments."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from airlock.core.digest import sha256_bytes
from airlock.core.errors import ToolError
from airlock.core.files import require_space
from airlock.core.process import clean_environment, find_tool, run

ROOT = Path(__file__).parents[1]
VARIABLE = "AIRLOCK_BOXES_CACHE"
_PIP_TIMEOUT = 1800.0  # seconds


def cache() -> Path:
    """The folder: ``.cache/boxes`` of this checkout, or what the environment variable AIRLOCK_BOXES_CACHE names."""
    return Path(os.environ.get(VARIABLE) or ROOT / ".cache/boxes").absolute()


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[int]:
    """Wait until no other thread or process makes ``path``, and keep others from it.

    Yields:
        A file descriptor for programs that do the work: while one of them lives, others are kept from it, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream.fileno()


def made_once(path: Path, make: Callable[[Path], None], *, needed: int) -> Path:
    """``path``, a file or a folder, made by ``make`` under another name unless it is there.

    Killed at any moment, there is either nothing under its name or all of it.

    Args:
        path: the final name.
        make: makes it under the name that it is given, in the same folder.
        needed: bytes of disk that it takes.

    Raises:
        SpaceError: there are not so many.
    """
    if not path.exists():
        with one_at_a_time(path):
            part = path.with_name(path.name + ".part")
            if not path.exists():
                remove(part)
                require_space(path.parent, needed, path.name)
                make(part)
                part.replace(path)
    return path


def remove(path: Path) -> None:
    """Remove a file or a folder that may not be there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def python_environment(requirements: Path) -> Path:
    """A virtual environment of Debian's python3 that holds exactly ``requirements``, all pinned by hash.

    Returns:
        Its folder. Other requirements make another one.

    Raises:
        ToolError: python3 cannot make one, or pip fails.
    """
    path = cache() / f"{requirements.stem}-{sha256_bytes(requirements.read_bytes())[:12]}"
    if (path / ".complete").exists():
        return path
    with one_at_a_time(path) as lock:
        if (path / ".complete").exists():
            return path
        # It cannot be renamed: its programs name their interpreter's place.
        remove(path)
        make: list[str | Path] = [find_tool("python3", "python3-venv"), "-m", "venv", path]
        run(make, env=_pip_environment(), check=True, pass_fds=[lock])
        pip: list[str | Path] = [path / "bin/python", "-m", "pip", "--disable-pip-version-check", "--no-cache-dir"]
        pip += ["install", "-q", "--require-hashes", "-r", requirements]
        result = run(pip, env=_pip_environment(), timeout=_PIP_TIMEOUT, pass_fds=[lock])
        if result.returncode != 0:
            said = result.stderr.decode("utf-8", "replace").strip()
            raise ToolError(
                f"pip could not install {requirements.name}:\n{said}",
                remedy="Run the same command again when pip's index can be reached.",
            )
        (path / ".complete").touch()
    return path


def _pip_environment() -> dict[str, str]:
    """pip as this machine's user has configured it; wheels that merely lie around are not asked for."""
    told = {key: value for key, value in os.environ.items() if key.startswith("PIP_") and key != "PIP_FIND_LINKS"}
    return clean_environment(Path.home(), network=True, **told)
