"""Sites that seed a real Gerrit, its projects as they lie on its disk, and a way to it that can be cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from boxes.gerrit import Gerrit
from boxes.logins import Login
from boxes.rest import quoted
from tests.bundle_samples import make_site
from tests.git_upstream import git

from airlock.core.settings import Site

MakeSite = Callable[..., Site]


@pytest.fixture
def make(gerrit: Gerrit, tmp_path: Path) -> MakeSite:
    """Makes a site whose repositories go to projects below ``below``."""

    def site(below: str, *, login: Login | None = None, address: str = "", name: str = "site") -> Site:
        who = login or gerrit.access.airlock
        return make_site(
            tmp_path / name,
            f'[gerrit]\naddress = "{address or gerrit.address}"\nuser = "{who.user}"\n'
            f'password_file = "{who.password_file}"\n'
            f'[gerrit.projects]\nkolla = "{below}/kolla"\nconfig = "{below}/config"\n',
        )

    return site


class Inside:
    """A repository as it lies on a disk: Gerrit's, of one project."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str) -> str:
        return git(self.folder, *arguments)

    @property
    def there(self) -> bool:
        return self.folder.exists()

    def refs(self, *patterns: str) -> dict[str, str]:
        """Full name → id of what it points at."""
        lines = self("for-each-ref", "--format=%(refname) %(objectname)", *patterns).splitlines()
        return dict(line.split(" ") for line in lines)  # type: ignore[misc]


@pytest.fixture
def project(gerrit: Gerrit) -> Callable[[str], Inside]:
    return lambda name: Inside(gerrit.site / "git" / f"{name}.git")


def make_project(gerrit: Gerrit, project: str, *, commit: bool = True) -> None:
    """As somebody else would: with a first commit of Gerrit's own on ``main``."""
    wanted = {"branches": ["main"], "create_empty_commit": commit}
    gerrit.rest(gerrit.access.admin).call("PUT", f"/projects/{quoted(project)}", wanted)


class Passage:
    """A way to a port of loopback that lets through what it is told to.

    Args:
        port: where it leads.
        hold: the number of the push (a POST to git-receive-pack) that stops in its middle.
    """

    def __init__(self, port: int, hold: int = 0) -> None:
        self._port, self._hold = port, hold
        self.held = threading.Event()
        self._pushes = 0
        self._open = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pump, args=(source, target, source is near))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, target: socket.socket, outward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if outward and b"POST " in data and b"git-receive-pack HTTP" in data:
                    self._pushes += 1
                    if self._pushes == self._hold:
                        middle = len(data) // 2
                        target.sendall(data[:middle])
                        self.held.set()
                        self._open.wait()
                        data = data[middle:]
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def release(self) -> None:
        """Let through what was held."""
        self._open.set()

    def close(self) -> None:
        """Cut every connection and take no more; the same again is nothing."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.release()
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()
