"""Addresses of upstreams by name: the factory's settings first, then what this machine's tools are configured with."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from uv import find_uv_bin

from airlock.core.errors import UsageError
from airlock.core.process import clean_environment, run
from airlock.core.settings import UpstreamTable
from airlock.fetch.http import shown

PYPI = "pypi"
KEPT = "upstreams"
"""Name under which the lock step keeps the default addresses ({name: address}, canonical JSON) in its transcript."""


ETC = Path("/etc")


def addresses(settings: Mapping[str, UpstreamTable], defaults: Mapping[str, str]) -> dict[str, str]:
    """Addresses by name, without a slash at the end.

    Args:
        settings: ``[upstreams]`` of factory.toml, which wins.
        defaults: of the others; ``pypi`` need not be among them.

    Raises:
        UsageError: an address is no http(s) address, or no package index can be found.
    """
    found = dict(defaults) | {name: table.address for name, table in settings.items()}
    if PYPI not in found:
        found[PYPI] = python_index()
    for name, address in found.items():
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"the upstream {name} has the address {shown(address)!r}, which is neither http nor https",
                remedy=f"Correct it in factory.toml: [upstreams.{name}] address = …",
            )
    return {name: address.rstrip("/") for name, address in found.items()}


def python_index(environ: Mapping[str, str] | None = None) -> str:
    """The package index that uv or pip would ask on this machine: uv's and pip's environment, their configuration
    files, pip's own default, uv's own default.

    Raises:
        UsageError: none of them names one.
    """
    environ = os.environ if environ is None else environ
    for address in _candidates(environ):
        if address:
            return address.rstrip("/")
    raise UsageError(
        "neither pip nor uv names a package index",
        remedy="Name one in factory.toml: [upstreams.pypi] address = … (it ends where project names begin).",
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    yield re.sub(r"^[\w.-]+=(?=https?://)", "", environ.get("UV_DEFAULT_INDEX", ""))  # uv takes NAME=ADDRESS, too
    yield environ.get("UV_INDEX_URL", "")
    yield environ.get("PIP_INDEX_URL", "")
    yield from map(_uv_index, _uv_files(environ))
    yield from map(_pip_index, _pip_files(environ))
    yield _pip_default()
    yield _uv_default()


def _home(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    return Path(environ.get(variable) or Path(environ.get("HOME", "/nonexistent")) / fallback)


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    if named := environ.get("UV_CONFIG_FILE"):
        return [Path(named)]
    return [
        _home(environ, "XDG_CONFIG_HOME", ".config") / "uv/uv.toml",
        *(Path(folder) / "uv/uv.toml" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")),
        ETC / "uv/uv.toml",
    ]


def _uv_index(path: Path) -> str:
    """The default index of a ``uv.toml``: ``[[index]]`` with ``default``, or the older ``index-url``."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="Correct or remove it.") from None
    indexes = data.get("index")
    for index in indexes if isinstance(indexes, list) else []:
        if isinstance(index, dict) and index.get("default"):
            return str(index.get("url", ""))
    pip = data.get("pip")
    return str(data.get("index-url") or (pip.get("index-url") if isinstance(pip, dict) else "") or "")


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Configuration files of pip, the one that wins first (pip's user guide, "Configuration files")."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []  # pip's own way to say: no files at all
    user = [
        _home(environ, "XDG_CONFIG_HOME", ".config") / "pip/pip.conf",
        _home(environ, "HOME", "") / ".pip/pip.conf",
    ]
    machine = [
        ETC / "pip.conf",
        *(Path(folder) / "pip/pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")),
    ]
    return [*([Path(named)] if named else []), Path(sys.prefix) / "pip.conf", *([] if named else user), *machine]


def _pip_index(path: Path) -> str:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="Correct or remove it.") from None
    for section in ("install", "global"):
        for key in ("index-url", "index_url"):
            if value := parser.get(section, key, fallback=""):
                return value
    return ""


def _pip_default() -> str:
    """What pip asks when nobody told it otherwise, from pip's own code, where pip is installed beside this program."""
    try:
        index: Any = importlib.import_module("pip._internal.models.index")
        return str(index.PyPI.simple_url)
    except (ImportError, AttributeError):
        return ""


def _uv_default() -> str:
    """What uv asks when nobody told it otherwise, from its own help."""
    help_text = run([find_uv_bin(), "pip", "compile", "--help"], env=clean_environment()).stdout.decode()
    found = re.search(r"default package index \(by\s+default: <(https?://[^>]+)>", help_text)
    return found[1] if found else ""
