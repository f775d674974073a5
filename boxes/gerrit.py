"""Gerrit: reviews, git over HTTP and SSH, the stream of events that Zuul follows. No web interface."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from airlock.core.errors import ToolError
from airlock.core.files import write_file
from airlock.core.process import last_lines
from boxes.box import Box
from boxes.gerrit_war import gerrit_war
from boxes.java import java_21
from boxes.logins import Login, draw_login
from boxes.network import HOST, LOOPBACK, Network
from boxes.rest import Rest, quoted

IMPORTERS = "Importers"
REVIEWERS = "Reviewers"
SERVICE_USERS = "Service Users"  # Gerrit's own: may follow the stream of events
_QUICK_TO_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
_INIT_TIMEOUT = 120.0  # seconds
_FIRST_PASSWORD = "secret"  # noqa: S105  what `init --dev` gives to admin, until bootstrap
_FIRST_TOKEN = "initialToken"  # noqa: S105  its name
_CONFIG = """[gerrit]
  basePath = git
  canonicalWebUrl = http://{host}:{port}/
  serverId = {server_id}
[auth]
  type = DEVELOPMENT_BECOME_ANY_ACCOUNT
[httpd]
  listenUrl = http://{host}:{port}/
[sshd]
  listenAddress = {host}:{ssh_port}
  advertisedAddress = {host}:{ssh_port}
[sendemail]
  enable = false
[receive]
  autogc = false
  enableSignedPush = false
[container]
  javaHome = {java}
  heapLimit = 512m
[cache]
  directory = cache
"""


class GerritAccess(msgspec.Struct, frozen=True):
    """How a Gerrit is reached.

    Attributes:
        address: ``http://127.0.0.1:PORT``; REST for a user is below ``/a/``, git at ``/a/PROJECT``.
        ssh_host, ssh_port: of git, ``gerrit stream-events`` and the other commands.
        admin: Administrator.
        zuul: Zuul's service user: stream of events, Verified, submit.
        airlock: who imports: makes projects, pushes branches and tags with any history.
        reviewer: a person: pushes changes, votes Code-Review -2 to +2, submits.
        known_hosts: of ssh, with the key of this server.
    """

    address: str
    ssh_host: str
    ssh_port: int
    admin: Login
    zuul: Login
    airlock: Login
    reviewer: Login
    known_hosts: Path


class Gerrit(Box):
    """One Gerrit.

    Args:
        folder: site, git repositories, secrets and logs.
        port: of HTTP.
        ssh_port: of SSH.
        network: where it lives.
    """

    name: ClassVar[str] = "gerrit"
    deadline: ClassVar[float] = 180.0
    needed: ClassVar[int] = 512 << 20  # the war and what it unpacks

    def __init__(self, folder: Path, *, port: int, ssh_port: int, network: Network = HOST) -> None:
        super().__init__(folder, ports=[port, ssh_port], network=network)
        self.site = self.folder / "site"
        self.address = f"http://{LOOPBACK}:{port}"
        self._port, self._ssh_port = port, ssh_port

    @property
    def access(self) -> GerritAccess:
        """Address, users and where their secrets lie."""
        secrets = self.folder / "secrets"
        admin, zuul, airlock, reviewer = (
            draw_login(secrets, user, key=True) for user in ("admin", "zuul", "airlock", "reviewer")
        )
        hosts = secrets / "known_hosts"
        return GerritAccess(self.address, LOOPBACK, self._ssh_port, admin, zuul, airlock, reviewer, hosts)

    def rest(self, login: Login) -> Rest:
        """Its interface as ``login`` sees it."""
        return Rest(self.name, self.network, f"{self.address}/a", login.user, login.password)

    def command(self) -> Sequence[str | Path]:
        """The daemon in the foreground, quick to start rather than fast."""
        return [*self._java("-Xms64m", "-Xmx512m"), self.site / "bin/gerrit.war", "daemon", "-d", self.site]

    def environment(self) -> Mapping[str, str]:
        """Gerrit unpacks itself into GERRIT_TMP, else into the user's home."""
        return {"GERRIT_TMP": str(self.folder / "home")}

    def logs(self) -> Sequence[Path]:
        """Its own log and what it says at its start."""
        return [self.site / "logs/error_log", self.log]

    def prepare(self) -> None:
        """Write the configuration; make the site the first time.

        Raises:
            ToolError: Java is missing, or Gerrit cannot make its site.
        """
        done = self.folder / "site.made"
        if not done.exists() and self.site.exists():
            shutil.rmtree(self.site)
        config = self.site / "etc/gerrit.config"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(
            _CONFIG.format(
                host=LOOPBACK, port=self._port, ssh_port=self._ssh_port, java=java_21(), server_id=self._server_id()
            ),
            "utf-8",
        )
        if done.exists():
            return
        command = [*self._java(), gerrit_war(), "init", "-d", self.site]
        options = ["--batch", "--dev", "--no-auto-start", "--skip-all-downloads"]
        result = self.call([*command, *options], timeout=_INIT_TIMEOUT)
        if result.returncode != 0:
            raise ToolError(f"gerrit init failed with {result.returncode}: {last_lines(result)}")
        done.touch()

    def _server_id(self) -> str:
        """Who this Gerrit is: changes are for the server that wrote them, and no other reads them."""
        path = self.folder / "server-id"
        if not path.exists():
            write_file(path, f"{uuid.uuid4()}\n".encode())
        return path.read_text("utf-8").strip()

    def _java(self, *options: str) -> list[str | Path]:
        home = f"-Duser.home={self.folder / 'home'}"  # Java takes the one of the password file, not HOME
        return [java_21() / "bin/java", *options, *_QUICK_TO_START, home, "-jar"]

    def ready(self) -> bool:
        """Whether it answers and listens on SSH."""
        try:
            answer = Rest(self.name, self.network, self.address).ask("GET", "/config/server/version", timeout=5)
        except OSError:
            return False
        return answer.ok and self.network.accepts(self._ssh_port)

    def bootstrap(self) -> None:
        """Secrets of its own for admin; the users, groups, label and rights that :class:`GerritAccess` tells of.

        Raises:
            ToolError: Gerrit refuses.
        """
        access = self.access
        key = " ".join((self.site / "etc/ssh_host_ed25519_key.pub").read_text("utf-8").split()[:2])
        write_file(access.known_hosts, f"[{LOOPBACK}]:{self._ssh_port} {key}\n".encode())
        self._take_over(access.admin)
        rest = self.rest(access.admin)
        _add_key(rest, "self", access.admin)
        groups = {access.zuul: SERVICE_USERS, access.airlock: IMPORTERS, access.reviewer: REVIEWERS}
        for login, group in groups.items():
            if group != SERVICE_USERS and rest.ask("GET", f"/groups/{quoted(group)}").status == 404:
                rest.call("PUT", f"/groups/{quoted(group)}", {"visible_to_all": True})
            _make_account(rest, login, group)
        rest.call("PUT", "/projects/All-Projects/labels/Verified", _VERIFIED)
        rest.call("PUT", "/projects/All-Projects/submit_requirements/Verified", _VERIFIED_TO_SUBMIT)
        ids = {group: rest.call("GET", f"/groups/{quoted(group)}").json()["id"] for group in groups.values()}
        rest.call("POST", "/projects/All-Projects/access", {"add": _rights(ids)})

    def _take_over(self, admin: Login) -> None:
        rest = self.rest(admin)
        if not rest.ask("GET", "/accounts/self").ok:
            first = Rest(self.name, self.network, f"{self.address}/a", admin.user, _FIRST_PASSWORD)
            first.call("PUT", "/accounts/self/password.http", {"http_password": admin.password})
        # Another password is one more: the first one goes on being good until it is taken away.
        if _FIRST_TOKEN in {token["id"] for token in rest.call("GET", "/accounts/self/tokens").json()}:
            rest.call("DELETE", f"/accounts/self/tokens/{_FIRST_TOKEN}")


def _make_account(rest: Rest, login: Login, group: str) -> None:
    if rest.ask("GET", f"/accounts/{login.user}").status == 404:
        wanted = {
            "name": login.user.capitalize(),
            "email": f"{login.user}@example.org",
            "ssh_key": login.public_key,
            "http_password": login.password,
            "groups": [group],
        }
        rest.call("PUT", f"/accounts/{login.user}", wanted)


def _add_key(rest: Rest, account: str, login: Login) -> None:
    present = rest.call("GET", f"/accounts/{account}/sshkeys").json()
    if login.public_key.split()[1] not in {key["encoded_key"] for key in present}:
        rest.call("POST", f"/accounts/{account}/sshkeys", login.public_key)


_VERIFIED = {
    "values": {"-1": "Fails", " 0": "No score", "+1": "Verified"},
    "default_value": 0,
    "copy_condition": "changekind:NO_CODE_CHANGE",
}
_VERIFIED_TO_SUBMIT = {
    "name": "Verified",
    "submittability_expression": "label:Verified=MAX AND -label:Verified=MIN",
}


def _rights(groups: Mapping[str, str]) -> dict[str, Any]:
    zuul, importers, reviewers = groups[SERVICE_USERS], groups[IMPORTERS], groups[REVIEWERS]

    def allow(*ids: str) -> dict[str, Any]:
        return {"rules": {one: {"action": "ALLOW"} for one in ids}}

    def vote(low: int, high: int, *ids: str) -> dict[str, Any]:
        return {"rules": {one: {"action": "ALLOW", "min": low, "max": high} for one in ids}}

    pushed = {"create": allow(importers), "push": allow(importers), "forgeAuthor": allow(importers),
              "forgeCommitter": allow(importers), "forgeServerAsCommitter": allow(importers)}  # fmt: skip
    return {
        "GLOBAL_CAPABILITIES": {"permissions": {"createProject": allow(importers)}},
        "refs/heads/*": {
            "permissions": {
                **pushed,
                "pushMerge": allow(importers),
                "submit": allow(zuul, reviewers),
                "label-Verified": vote(-1, 1, zuul),
                "label-Code-Review": vote(-2, 2, reviewers),
            }
        },
        "refs/for/*": {"permissions": {"pushMerge": allow(importers, reviewers)}},
        "refs/tags/*": {
            "permissions": {**pushed, "createTag": allow(importers), "createSignedTag": allow(importers)},
        },
    }
