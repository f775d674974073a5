"""The syntax tree of a shell script, by ``shfmt`` (mvdan/sh): one process a script, kept for the next time it is asked.

Posix is the language: it is what ``/bin/sh`` is on Debian and Ubuntu, and it refuses most of what is bash's alone.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from airlock.core.errors import ToolError
from airlock.core.process import find_tool, run

Node = dict[str, Any]

MAX_SCRIPT = 1 << 18
MAX_OPERATORS = 500
TIMEOUT = 30.0

_OPERATORS = re.compile(r"&&|\|\||[&|;({\n]")


class ShellSyntaxError(Exception):
    """``shfmt`` cannot read the script as posix shell; the message is its own (line:column: reason)."""


@lru_cache(maxsize=1)
def _shfmt() -> str:
    for directory in (sysconfig.get_path("scripts"), str(Path(__file__).parent)):
        candidate = Path(directory) / "shfmt"
        if candidate.is_file():
            return str(candidate)
    return find_tool("shfmt", "shfmt")


def _bounded(script: str) -> bool:
    """The tree's size grows with the square of its depth: every level is indented. Kolla's longest has 180."""
    return len(script) <= MAX_SCRIPT and len(_OPERATORS.findall(script)) <= MAX_OPERATORS


@lru_cache(maxsize=4096)
def _tree(script: str) -> bytes | str:
    """The tree as JSON, or the message of a syntax error."""
    try:
        result = run([_shfmt(), "-ln", "posix", "--to-json"], data=script.encode(), timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"shfmt did not end within {TIMEOUT:.0f} s"
    if result.returncode == 0:
        return result.stdout
    message = result.stderr.decode("utf-8", "replace").strip()
    if not message:
        raise ToolError(f"shfmt failed with {result.returncode} and said nothing")
    return message.removeprefix("<standard input>:")


def parse(script: str) -> Node:
    """The ``File`` node of a script, in ``shfmt --to-json``'s form (empty fields are left out, offsets are bytes).

    Raises:
        ShellSyntaxError: not posix shell, larger than 256 KiB, or of more than 500 operators and brackets.
        ToolError: shfmt is missing or breaks.
    """
    if not _bounded(script):
        raise ShellSyntaxError(f"larger than {MAX_SCRIPT >> 10} KiB, or more than {MAX_OPERATORS} operators")
    tree = _tree(script)
    if isinstance(tree, str):
        raise ShellSyntaxError(tree)
    node: Node = msgspec.json.decode(tree)
    return node


def prepare(scripts: Iterable[str], workers: int = 4) -> None:
    """Have many scripts parsed side by side, so that a later ``parse`` of each is at once."""
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(_tree, {script for script in scripts if _bounded(script)}))
