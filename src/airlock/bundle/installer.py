#!/usr/bin/env python3
"""Install Airlock from the bundle that this file lies in. Python's standard library alone, no network.

    python3 install-airlock.py PATH

makes a virtual environment at PATH from the bundle's own wheels, each checked against the lock, the lock against the
manifest. Needs Debian's python3-venv. Run it again after it was interrupted; it starts afresh.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, NoReturn

PROJECT = "kolla-airlock"
MARK = "airlock-bundle.json"
UNFINISHED = ".unfinished"
MAX_SMALL = 512 << 20  # bytes
EXIT_INTEGRITY, EXIT_INCOMPLETE, EXIT_STATE, EXIT_TOOL = 7, 9, 10, 11  # those of `airlock` itself

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def fail(code: int, message: str, remedy: str) -> NoReturn:
    """Say what happened and what to do, and end."""
    sys.stderr.write(f"error: {message}\n  -> {remedy}\n")
    raise SystemExit(code)


def read_small(path: Path) -> bytes:
    """A whole file of the bundle, of bounded size."""
    try:
        if path.is_symlink() or path.stat().st_size > MAX_SMALL:
            fail(EXIT_INTEGRITY, f"{path} is a link, or too large", "Bring the bundle again.")
        return path.read_bytes()
    except OSError as error:
        fail(EXIT_INCOMPLETE, f"{path} cannot be read: {error.strerror}", "Bring the bundle again.")


def read_lock(bundle: Path, expect: str) -> tuple[str, list[dict[str, Any]]]:
    """(sha256 of the manifest, the lock's lines), the lock checked against the manifest."""
    document = read_small(bundle / "MANIFEST.json")
    digest = hashlib.sha256(document).hexdigest()
    if expect and digest != expect.lower().removeprefix("sha256:"):
        fail(EXIT_INTEGRITY, f"MANIFEST.json has sha256 {digest}, not {expect}", "Do not use it; ask whoever sent it.")
    lock = read_small(bundle / "airlock.lock")
    try:
        wanted = json.loads(document)["lock"]
        if hashlib.sha256(lock).hexdigest() != wanted:
            fail(EXIT_INTEGRITY, "airlock.lock is not the one that MANIFEST.json names", "Bring the bundle again.")
        return digest, [json.loads(line) for line in lock.splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        fail(EXIT_INTEGRITY, f"MANIFEST.json or airlock.lock cannot be read: {error}", "Bring the bundle again.")


def project_of(requirement: str) -> str:
    """Normalised project name of a requirement or wheel name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement.strip(), maxsplit=1)[0]).lower()


def wheels_of(lines: list[dict[str, Any]], machine: str) -> list[dict[str, Any]]:
    """The wheels that answer the lock's demand for Airlock itself on this kind of machine."""
    asked = [
        line
        for line in lines
        if line.get("type") == "demand" and line.get("kind") == "tool" and project_of(line["spec"]) == PROJECT
    ]
    wanted = {ident for demand in asked if demand["arch"] == machine for ident in demand.get("artifacts", [])}
    found = [line for line in lines if line.get("type") == "artifact" and line["id"] in wanted]
    if not any(project_of(wheel["name"]) == PROJECT for wheel in found):
        others = ", ".join(sorted({demand["arch"] for demand in asked} - {machine}))
        fail(
            EXIT_INCOMPLETE,
            f"this bundle holds no {PROJECT} for {machine}" + (f", only for {others}" if others else ""),
            "Lock and bundle again at the factory, with this architecture in the definition.",
        )
    for wheel in found:
        if not _NAME.match(wheel["file"]) or not _SHA256.match(wheel["sha256"]):
            fail(EXIT_INTEGRITY, f"the lock names an unsafe file {wheel['file']!r}", "Do not use this bundle.")
    return found


def take(bundle: Path, wheel: dict[str, Any], folder: Path) -> Path:
    """Copy one wheel out of the pool under its real name, hashed as it is copied."""
    sha256 = wheel["sha256"]
    source = bundle / "pool" / sha256[:2] / f"{sha256}.whl"
    target = folder / str(wheel["file"])
    digest = hashlib.sha256()
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            while chunk := reader.read(1 << 20):
                digest.update(chunk)
                writer.write(chunk)
    except OSError as error:
        fail(
            EXIT_INCOMPLETE,
            f"{wheel['file']} ({source}) cannot be copied: {error.strerror}",
            "Bring the bundle again.",
        )
    if digest.hexdigest() != sha256:
        fail(EXIT_INTEGRITY, f"{wheel['file']} ({source}) is not the file that was locked", "Bring the bundle again.")
    return target


def make_environment(place: Path, wheels: list[Path], manifest: str) -> None:
    """A virtual environment at ``place`` with exactly these wheels (and pip)."""
    place.mkdir(parents=True, exist_ok=True)
    (place / UNFINISHED).touch()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    os.environ.clear()
    os.environ.update(environment)  # venv hands it to ensurepip
    try:
        venv.create(place, with_pip=True, symlinks=True)
    except subprocess.CalledProcessError:
        fail(EXIT_TOOL, "Python cannot make virtual environments here", "apt-get install python3-venv")
    pip = [str(place / "bin" / "python"), "-I", "-m", "pip", "--isolated", "--disable-pip-version-check"]
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-cache-dir", *map(str, wheels)]
    for arguments in (install, ["check"]):
        done = subprocess.run([*pip, *arguments], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            fail(
                EXIT_INCOMPLETE,
                f"pip {arguments[0]}: {(done.stderr or done.stdout).strip()}",
                "The factory locked wheels for another Python or architecture, or too few; lock again there.",
            )
    facts = {"manifest": manifest, "wheels": sorted(path.name for path in wheels)}
    (place / MARK).write_text(json.dumps(facts, indent=1) + "\n")
    (place / UNFINISHED).unlink()


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Install Airlock from the bundle this file lies in; no network.")
    parser.add_argument("path", type=Path, help="where to make the virtual environment")
    parser.add_argument("--expect", default="", metavar="DIGEST", help="sha256 of MANIFEST.json (transfer paper)")
    options = parser.parse_args(arguments)
    bundle = Path(__file__).resolve().parent
    place: Path = options.path.absolute()
    manifest, lines = read_lock(bundle, options.expect)
    wheels = wheels_of(lines, platform.machine())
    if place.exists() and any(place.iterdir()) and not ((place / MARK).is_file() or (place / UNFINISHED).is_file()):
        fail(EXIT_STATE, f"{place} is there and was not made by this program", "Choose another path.")
    with tempfile.TemporaryDirectory(prefix="airlock-wheels-") as folder:
        files = [take(bundle, wheel, Path(folder)) for wheel in wheels]
        if place.exists():
            shutil.rmtree(place)
        make_environment(place, files, manifest)
    sys.stdout.write(f"{place / 'bin' / 'airlock'}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
