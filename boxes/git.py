"""Repositories in a Gerrit box, by git over SSH as one of its users."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from airlock.core.errors import ToolError
from airlock.core.process import clean_environment, find_tool, last_lines, run
from boxes.gerrit import GerritAccess
from boxes.logins import Login
from boxes.network import Network

_TIMEOUT = 600.0  # seconds


class Repository:
    """A working copy of one project.

    Args:
        folder: where it is; made when missing.
        gerrit: where the project is.
        project: its name.
        login: as whom.
        network: where the Gerrit lives.
    """

    def __init__(self, folder: Path, gerrit: GerritAccess, project: str, login: Login, network: Network) -> None:
        self.folder = folder
        self.address = f"ssh://{login.user}@{gerrit.ssh_host}:{gerrit.ssh_port}/{project}"
        self._network = network
        options = ("IdentitiesOnly=yes", "BatchMode=yes", f"UserKnownHostsFile={gerrit.known_hosts}")
        ssh = shlex.join(["ssh", "-F", "/dev/null", "-i", str(login.key), *(f"-o{option}" for option in options)])
        self._environment = clean_environment(folder) | {"GIT_SSH_COMMAND": ssh, "GIT_CONFIG_NOSYSTEM": "1"}
        for role in ("AUTHOR", "COMMITTER"):
            self._environment[f"GIT_{role}_NAME"] = login.user.capitalize()
            self._environment[f"GIT_{role}_EMAIL"] = f"{login.user}@example.org"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str | Path, check: bool = True) -> str:
        """Run git in it; what it says.

        Raises:
            ToolError: git is missing, or fails.
        """
        command = self._network.command([find_tool("git", "git"), "-C", self.folder, *words])
        result = run(command, env=self._environment, timeout=_TIMEOUT)
        if check and result.returncode != 0:
            raise ToolError(f"git {words[0]} for {self.address} failed: {last_lines(result)}")
        return result.stdout.decode("utf-8", "replace").strip()

    def write(self, files: Mapping[str, bytes], *, keep: bool = False) -> None:
        """Have it hold these files, and no others unless those are to be kept."""
        for path in self.folder.iterdir():
            if path.name != ".git" and not keep:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name, data in files.items():
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        self.git("add", "--all")

    def commit(self, message: str, *options: str) -> str:
        """Commit what is staged; the commit."""
        self.git("commit", "--quiet", *options, "--message", message)
        return self.head()

    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")


def push_files(
    gerrit: GerritAccess, project: str, branch: str, files: Mapping[str, bytes], message: str, network: Network, *,
    keep: bool = False,
) -> str:  # fmt: skip
    """Have a branch of a project hold these files, by a direct push; the commit that it is at then.

    Args:
        keep: the files that it holds besides.

    Raises:
        ToolError: git fails, or Gerrit refuses.
    """
    with TemporaryDirectory(prefix="airlock-box-") as name:
        work = Repository(Path(name), gerrit, project, gerrit.airlock, network)
        there = work.git("ls-remote", work.address, f"refs/heads/{branch}")
        if there:
            work.git("fetch", "--quiet", work.address, f"refs/heads/{branch}")
            work.git("checkout", "--quiet", "-B", branch, "FETCH_HEAD")
        work.write(files, keep=keep)
        if there and not work.git("status", "--porcelain"):
            return work.head()
        work.commit(message)
        work.git("push", "--quiet", work.address, f"HEAD:refs/heads/{branch}")
        return work.head()
