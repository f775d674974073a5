"""Files of a .deb, read from its data archive as dpkg-deb(1) unpacks it; nothing is written or run."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from airlock.core.errors import FormatError
from airlock.core.process import clean_environment, find_tool

_MAX = 4 << 20  # bytes of one file


def read_deb_files(path: Path, ident: str, wanted: Callable[[str], object]) -> dict[str, bytes]:
    """Member name → its first 4 MiB, of the regular files whose name is wanted, in the archive's order.

    Raises:
        FormatError: it is no Debian package.
    """
    command = [find_tool("dpkg-deb", "dpkg"), "--fsys-tarfile", str(path)]
    found: dict[str, bytes] = {}
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() and wanted(member.name) else None
                    if stream is not None:
                        found[member.name] = stream.read(_MAX)
            process.stdout.read()
        except tarfile.TarError as error:
            process.kill()
            raise FormatError(f"{ident} is no Debian package: {error}") from None
    if process.returncode != 0:
        raise FormatError(f"{ident} cannot be unpacked by dpkg-deb")
    return found
