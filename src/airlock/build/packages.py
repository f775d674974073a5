"""What is installed in a built image, read from its root folder: dpkg's status and Python's metadata."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name

from airlock.evidence.record import Package

_PYTHON_FOLDERS = ("var/lib/kolla/venv/lib", "opt/ansible/lib", "usr/local/lib")
_MAX_STATUS = 64 << 20


def installed_packages(root: Path) -> list[Package]:
    """Packages of an image whose root folder is mounted at ``root``, sorted.

    Nothing of the image is executed. Python packages are those of Kolla's virtual environments; what Debian put into
    ``dist-packages`` is among the dpkg packages already.
    """
    return sorted([*_dpkg(root / "var/lib/dpkg/status"), *_python(root)])


def _dpkg(status: Path) -> Iterator[Package]:
    if not status.is_file() or status.is_symlink() or status.stat().st_size > _MAX_STATUS:
        return
    for stanza in status.read_text("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        if fields.get("Status", "").endswith(" installed"):
            yield Package(
                kind="dpkg",
                name=fields.get("Package", ""),
                version=fields.get("Version", ""),
                arch=fields.get("Architecture", ""),
            )


def _python(root: Path) -> Iterator[Package]:
    for base in _PYTHON_FOLDERS:
        for folder in sorted((root / base).glob("python3*/site-packages")):
            # A link could lead out of the image's root.
            if not folder.resolve().is_relative_to(root.resolve()):
                continue
            for dist in distributions(path=[str(folder)]):
                yield Package(kind="pip", name=canonicalize_name(dist.name), version=dist.version)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(installed_packages(Path(sys.argv[1]))))
