"""Git repositories for tests, with dates and names of their own, and a web server on loopback that has them."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.web_server import serving

_PEOPLE = {
    f"GIT_{who}_{what}": f"{who}@example.org".lower() for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
_DATES = {f"GIT_{who}_DATE": "1700000000 +0000" for who in ("AUTHOR", "COMMITTER")}


def git(folder: Path, *arguments: str, data: str | None = None) -> str:
    """Run git there, with nobody's configuration; what it said. Raises CalledProcessError."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **_PEOPLE, **_DATES}
    command = ["git", "-C", str(folder), *arguments]
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, input=data)
    return result.stdout.strip()


def make_repository(folder: Path, files: dict[str, str] | None = None, branch: str = "master") -> Path:
    """A repository with one commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch", branch)
    commit(folder, "one", files or {"README": "one\n"})
    return folder


def commit(folder: Path, message: str, files: dict[str, str]) -> str:
    """Commit files; the commit's id."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def long_history(folder: Path, commits: int = 120) -> Path:
    """A repository of that many commits, a merge, and tags of both kinds, made in one go."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    stream = []
    for number in range(1, commits + 1):
        words, text = f"step {number}", f"{number}\n"
        stream.append(
            f"commit refs/heads/main\nmark :{number}\ncommitter A <a@example.org> {1600000000 + number} +0000\n"
            f"data {len(words)}\n{words}\n"
            + (f"merge :{number - 5}\n" if number == 50 else "")
            + f"M 100644 inline file{number % 7}\ndata {len(text)}\n{text}\n"
        )
        if number % 40 == 0:
            stream.append(f"reset refs/tags/light-{number}\nfrom :{number}\n\n")
            stream.append(
                f"tag {number // 40}.0.0\nfrom :{number}\ntagger A <a@example.org> 1700000000 +0000\ndata 2\nv\n"
            )
    git(folder, "fast-import", "--quiet", data="".join(stream))
    git(folder, "reset", "--quiet", "--hard", "main")
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of a folder, as a plain web server has it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *rest: object) -> None:
            pass

    with serving(functools.partial(Quiet, directory=str(folder))) as address:
        yield address
