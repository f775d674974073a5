"""Running other programs: argument lists only, an environment of our own, output kept for the error."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from airlock.core.errors import ToolError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What a program needs to reach an upstream the way the user configured this machine.
_NETWORK = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip


def clean_environment(home: Path | None = None, *, network: bool = False, **extra: str) -> dict[str, str]:
    """An environment that holds nothing of the user's: PATH, a C locale, HOME, TMPDIR and what is named.

    Args:
        home: HOME of the program; ``/nonexistent`` when it needs none.
        network: also pass on proxies and certificate settings, for programs that talk to upstreams.
        extra: further variables.
    """
    environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": str(home or "/nonexistent")}
    if "TMPDIR" in os.environ:
        environment["TMPDIR"] = os.environ["TMPDIR"]
    if network:
        environment |= {key: os.environ[key] for key in _NETWORK if key in os.environ}
    return environment | extra


def find_tool(name: str, package: str) -> str:
    """Absolute path of a program.

    Args:
        name: the program.
        package: the Debian package that has it, for the remedy.

    Raises:
        ToolError: it is not installed.
    """
    found = shutil.which(name, path=PATH)
    if found is None:
        raise ToolError(
            f"the program {name} is not installed", remedy=f"apt-get install --no-install-recommends {package}"
        )
    return found


def run(
    arguments: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    data: bytes | None = None,
    timeout: float | None = None,
    check: bool = False,
    pass_fds: Sequence[int] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end with a clean environment and return its output as bytes.

    Raises:
        ToolError: it is missing, or ``check`` is set and it failed (with the last lines of what it said).
        subprocess.TimeoutExpired: it took longer than ``timeout`` seconds.
    """
    command = [str(part) for part in arguments]
    try:
        result = subprocess.run(
            command,
            env=dict(env) if env is not None else clean_environment(),
            cwd=cwd,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as error:
        raise ToolError(f"the program {command[0]} is not installed") from error
    if check and result.returncode != 0:
        raise ToolError(f"{' '.join(command[:4])} … failed with {result.returncode}: {last_lines(result)}")
    return result


def last_lines(result: subprocess.CompletedProcess[bytes], count: int = 8) -> str:
    """The last ``count`` non-empty lines that a program said, standard error first choice."""
    text = (result.stderr or result.stdout or b"").decode("utf-8", "replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])
