"""Wheels whose bytes depend on their content alone: Airlock's own, from the installed files, and those built here."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import airlock
from airlock.core.errors import ToolError

DISTRIBUTION = "kolla-airlock"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SKIPPED = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL", "uv_cache.json", "uv_build.json"}
_MAX_FILE = 64 << 20


def own_wheel() -> tuple[str, bytes]:
    """(file name, bytes) of a wheel of this very Airlock, also where it is installed as editable.

    Raises:
        ToolError: Airlock runs without being installed.
    """
    try:
        installed = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise ToolError(
            "airlock runs from its source, so no wheel of it can be put into the lock",
            remedy="Install it: `make install`, pipx or uv tool.",
        ) from None
    stem = f"{DISTRIBUTION.replace('-', '_')}-{installed.version}"
    package = Path(airlock.__file__).parent
    files = {
        f"airlock/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith((".part", ".pyc"))
    }
    for entry in installed.files or ():
        parts = entry.parts
        if parts[0].endswith(".dist-info") and entry.name not in _SKIPPED:
            files["/".join((f"{stem}.dist-info", *parts[1:]))] = Path(str(entry.locate())).read_bytes()
    files[f"{stem}.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: airlock\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    return f"{stem}-py3-none-any.whl", pack(files, f"{stem}.dist-info", {})


def normalised(data: bytes) -> bytes:
    """The same wheel with sorted members, a constant date and plain modes.

    Raises:
        ToolError: it is no wheel.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            members = [info for info in zipped.infolist() if not info.is_dir()]
            if any(info.file_size > _MAX_FILE for info in members):
                raise ToolError("the wheel that was built holds a file larger than 64 MiB")
            files = {info.filename: zipped.read(info) for info in members}
            executable = {info.filename: bool(info.external_attr >> 16 & 0o111) for info in members}
    except zipfile.BadZipFile:
        raise ToolError("what was built is no wheel") from None
    record = next((name for name in files if name.endswith(".dist-info/RECORD")), None)
    if record is None:
        raise ToolError("what was built is no wheel: it has no RECORD")
    del files[record]
    return pack(files, record.rpartition("/")[0], executable)


def pack(files: Mapping[str, bytes], information: str, executable: Mapping[str, bool]) -> bytes:
    """A wheel of these files (Binary distribution format); stored, since compressed bytes differ between zlibs.

    Args:
        information: name of the ``.dist-info`` folder, for RECORD.
        executable: which files have the executable bits.
    """
    lines = []
    for name, data in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{_quoted(name)},sha256={digest},{len(data)}\n")
    record = f"{information}/RECORD"
    lines.append(f"{_quoted(record)},,\n")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as zipped:
        for name, data in [*sorted(files.items()), (record, "".join(lines).encode())]:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix
            info.external_attr = (0o100755 if executable.get(name) else 0o100644) << 16
            zipped.writestr(info, data)
    return stream.getvalue()


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name or '"' in name else name
