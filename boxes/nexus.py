"""Nexus Repository 3: raw hosted repositories, as a factory and a site keep their artifacts in."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from airlock.core.errors import StateError
from boxes.box import Box
from boxes.cache import cache, made_once, remove
from boxes.java import archives, java_17, pinned
from boxes.logins import Login, draw_login
from boxes.network import HOST, LOOPBACK, Network
from boxes.rest import Rest

IMPORTER = ("browse", "read", "edit")
READER = ("browse", "read")
ADMIN = "admin"
_FIRST_PASSWORD = "admin123"  # noqa: S105  what a new server gives to admin, until bootstrap
# Compiled less and collected by one thread: half the time to start, half the memory, a third of the throughput.
_QUICK_TO_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
_PROPERTIES = """application-host={host}
application-port={port}
nexus.skipDefaultRepositories=true
nexus.security.randompassword=false
nexus.onboarding.enabled=false
nexus.analytics.enabled=false
"""


class Repository(msgspec.Struct, frozen=True):
    """A raw hosted repository and who may write into it.

    Attributes:
        name: its name in Nexus.
        url: what a path of a file is appended to; ends in ``/``.
        importer: may browse, read and edit it (which in Nexus is to write), and nothing else.
    """

    name: str
    url: str
    importer: Login


class Nexus(Box):
    """One Nexus. Nobody reads without a login.

    Args:
        folder: data, secrets and logs.
        port: of HTTP.
        repositories: raw hosted repositories that it has from its start.
        fast_under_load: serve faster, for throughput tests; takes longer to start and more memory.
        network: where it lives.
    """

    name: ClassVar[str] = "nexus"
    deadline: ClassVar[float] = 240.0
    grace: ClassVar[float] = 30.0
    needed: ClassVar[int] = 256 << 20

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        repositories: Sequence[str] = (),
        fast_under_load: bool = False,
        network: Network = HOST,
    ) -> None:
        super().__init__(folder, ports=[port], network=network)
        self.data = self.folder / "data"
        self.address = f"http://{LOOPBACK}:{port}"
        self._port = port
        self._repositories = tuple(repositories)
        self._fast_under_load = fast_under_load

    @property
    def admin(self) -> Login:
        """Who may do anything."""
        return draw_login(self._secrets, ADMIN)

    def rest(self, login: Login | None = None) -> Rest:
        """Its interface as ``login`` (default: admin) sees it."""
        login = login or self.admin
        return Rest(self.name, self.network, f"{self.address}/service/rest/v1", login.user, login.password)

    def command(self) -> Sequence[str | Path]:
        """The script replaces itself by Java, so that its process is the server's."""
        return [nexus_tree() / "bin/nexus", "server"]

    def environment(self) -> Mapping[str, str]:
        """All that it writes goes into the box's folder: the program's own is shared."""
        options = "" if self._fast_under_load else _QUICK_TO_START
        own = (
            f"-XX:-UsePerfData -Djava.util.prefs.userRoot={self.data / 'javaprefs'} -Duser.home={self.folder / 'home'}"
        )
        return {
            "JAVA_HOME": str(java_17()),
            "KARAF_DATA": str(self.data),
            "KARAF_LOG": str(self.data / "log"),
            "JAVA_MIN_MEM": "256m",
            "JAVA_MAX_MEM": "768m",
            "DIRECT_MAX_MEM": "512m",
            "EXTRA_JAVA_OPTS": f"-XX:-UsePerfData {options} {own}",
        }

    def logs(self) -> Sequence[Path]:
        """What its start says, and its own log."""
        return [self.log, self.data / "log/nexus.log"]

    def prepare(self) -> None:
        """Write its properties."""
        for place in ("etc", "log", "javaprefs"):
            (self.data / place).mkdir(parents=True, exist_ok=True)
        properties = _PROPERTIES.format(host=LOOPBACK, port=self._port)
        (self.data / "etc/nexus.properties").write_text(properties, "utf-8")

    def ready(self) -> bool:
        """Whether it takes files."""
        address = f"{self.address}/service/rest/v1"
        try:
            return Rest(self.name, self.network, address).ask("GET", "/status/writable", timeout=5).ok
        except OSError:
            return False

    def bootstrap(self) -> None:
        """A password of its own for admin, no reading without a login, the repositories.

        Raises:
            ToolError: Nexus refuses.
        """
        self._take_over()
        nobody = {"enabled": False, "userId": "anonymous", "realmName": "NexusAuthorizingRealm"}
        self.rest().call("PUT", "/security/anonymous", nobody)
        for name in self._repositories:
            self.make_repository(name)

    def make_repository(self, name: str) -> Repository:
        """A raw hosted repository that takes each path once, on a blob store of its own, and its importer.

        The same again changes nothing.

        Args:
            name: of letters, digits, ``.``, ``-`` and ``_``; its blob store and role are called so, too.

        Raises:
            ToolError: Nexus refuses.
        """
        rest = self.rest()
        if name not in {store["name"] for store in rest.call("GET", "/blobstores").json()}:
            rest.call("POST", "/blobstores/file", {"name": name, "path": name})
        wanted = {
            "name": name,
            "online": True,
            # A type that does not fit its name is refused by a strict repository, and Airlock's pool holds any file.
            "storage": {"blobStoreName": name, "strictContentTypeValidation": False, "writePolicy": "ALLOW_ONCE"},
            "raw": {"contentDisposition": "ATTACHMENT"},
        }
        if name in {one["name"] for one in rest.call("GET", "/repositories").json()}:
            rest.call("PUT", f"/repositories/raw/hosted/{name}", wanted)
        else:
            rest.call("POST", "/repositories/raw/hosted", wanted)
        importer = self.make_user(f"{name}-importer", name, IMPORTER)
        return Repository(name, f"{self.address}/repository/{name}/", importer)

    def make_user(self, user: str, repository: str, actions: Sequence[str] = READER) -> Login:
        """A user who may do exactly ``actions`` with the files of one raw repository. The same again changes nothing.

        Args:
            user: the name; of its role, too.
            repository: what it is about.
            actions: Nexus's: browse, read, edit, add, delete.

        Raises:
            ToolError: Nexus refuses.
        """
        rest = self.rest()
        login = draw_login(self._secrets, user)
        privileges = [f"nx-repository-view-raw-{repository}-{action}" for action in actions]
        role = {"id": user, "name": user, "description": "", "privileges": privileges, "roles": []}
        if rest.ask("GET", f"/security/roles/{user}").ok:
            rest.call("PUT", f"/security/roles/{user}", role)
        else:
            rest.call("POST", "/security/roles", role)
        account = {
            "userId": user,
            "firstName": user,
            "lastName": "Airlock",
            "emailAddress": f"{user}@example.org",
            "status": "active",
            "roles": [user],
        }
        if any(one["userId"] == user for one in rest.call("GET", f"/security/users?userId={user}").json()):
            rest.call("PUT", f"/security/users/{user}", account | {"source": "default"})
            rest.call("PUT", f"/security/users/{user}/change-password", login.password)
        else:
            rest.call("POST", "/security/users", account | {"password": login.password})
        return login

    @property
    def _secrets(self) -> Path:
        return self.folder / "secrets"

    def _take_over(self) -> None:
        if self.rest().ask("GET", "/security/users").ok:
            return
        first = Rest(self.name, self.network, f"{self.address}/service/rest/v1", ADMIN, _FIRST_PASSWORD)
        if not first.ask("PUT", f"/security/users/{ADMIN}/change-password", self.admin.password).ok:
            raise StateError(
                f"{self.name} at {self.address} refuses admin's password of {self.admin.password_file}",
                remedy=f"Put the password back, or stop the server and remove {self.folder} to begin anew.",
            )


def nexus_tree() -> Path:
    """The unpacked program in the cache, which all that run share; unpacked when it is missing.

    Raises:
        ToolError, UpstreamError, IntegrityError: see :func:`boxes.java.archives`.
    """
    (pin,) = pinned("nexus")

    def unpack(path: Path) -> None:
        (archive,) = archives("nexus")
        whole = path.with_name(path.name + ".unpacking")
        remove(whole)
        with zipfile.ZipFile(archive) as source:
            source.extractall(whole)
            for entry in source.infolist():
                if mode := entry.external_attr >> 16 & 0o777:
                    (whole / entry.filename).chmod(mode)
        (top,) = whole.iterdir()
        top.replace(path)
        whole.rmdir()

    return made_once(cache() / Path(pin.file_name).stem, unpack, needed=256 << 20)
