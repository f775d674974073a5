"""Runs inside a sandbox: asks the build backend of an sdist what building a wheel needs, or builds one.

``python3 -I python_hook_worker.py requires SDIST FOLDER BACKEND BACKEND_PATH PLACE…`` unpacks the sdist (or copies a
tree) and answers with a JSON list of requirements on the file descriptor that ``AIRLOCK_ANSWER`` names; with ``wheel``
and a tree it builds a wheel into ``/out``. Each PLACE is a folder that ``unpack WHEEL`` made of a wheel in ``/out``.
Standard library and pyproject_hooks alone. What it unpacks and calls is hostile; what that writes elsewhere is lost
when the sandbox ends.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

_WORK = Path("/tmp")  # noqa: S108 (the sandbox's own)
_MAX = 2 << 30  # bytes of an unpacked wheel


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a tar or zip archive; returns its single top folder."""
    target.mkdir()
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(target)  # noqa: S202 (nothing but the sandbox can be hit)
    else:
        with tarfile.open(archive) as tarred:
            tarred.extractall(target)  # noqa: S202
    folders = [entry for entry in target.iterdir() if entry.is_dir()]
    if len(folders) != 1:
        raise ValueError(f"{archive.name} has {len(folders)} top folders")
    return folders[0]


def install(wheel: Path, target: Path) -> None:
    """Put a wheel's files where ``PYTHONPATH`` finds them (its scripts and data are not needed by hooks)."""
    with zipfile.ZipFile(wheel) as zipped:
        if sum(member.file_size for member in zipped.infolist()) > _MAX:
            raise ValueError(f"{wheel.name} holds more than {_MAX >> 30} GiB")
        for member in zipped.infolist():
            parts = Path(member.filename).parts
            if parts[0].endswith(".data"):
                if len(parts) < 3 or parts[1] not in ("purelib", "platlib"):
                    continue
                member.filename = str(Path(*parts[2:])) + ("/" if member.is_dir() else "")
            zipped.extract(member, target)


def main(arguments: list[str]) -> None:
    """Answer."""
    what, given, *more = arguments
    if what == "unpack":
        os.umask(0o022)  # hooks read it as somebody else
        install(Path(given), Path("/out"))
        compileall.compile_dir("/out", quiet=2)  # what does not compile is not imported, or says so then
        return
    folder, backend, backend_path, *places = more
    answer = int(os.environ.pop("AIRLOCK_ANSWER"))
    os.set_inheritable(answer, False)
    tree = Path(given) if Path(given).is_dir() else unpack(Path(given), _WORK / "source")
    if what == "requires" and Path(given).is_dir():
        tree = shutil.copytree(given, _WORK / "source", symlinks=True)  # a hook may write
    source = tree / folder
    os.environ["PYTHONPATH"] = os.pathsep.join(places)
    sys.path.append("/run/airlock/hooks")
    from pyproject_hooks import BuildBackendHookCaller

    paths = json.loads(backend_path)
    caller = BuildBackendHookCaller(str(source), backend, backend_path=paths or None)
    if what == "wheel":
        caller.build_wheel("/out")
        return
    needed = caller.get_requires_for_build_wheel()
    os.write(answer, json.dumps([str(one) for one in needed]).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
