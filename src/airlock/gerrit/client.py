"""The REST API of Gerrit (its documentation: rest-api.html), as the site's user."""

from __future__ import annotations

import base64
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from airlock.core.gerrit_settings import GerritPlace
from airlock.core.http import trust
from airlock.core.secrets import read_secret
from airlock.gerrit.refusals import away, no_gerrit, refused

CONNECT = 10.0  # seconds
ANSWER = 120.0
MAX_ANSWER = 64 << 20  # bytes

T = TypeVar("T")
_GUARD = b")]}'\n"  # before every answer of Gerrit's, against its inclusion as a script


class _Account(msgspec.Struct):
    username: str = ""


class _Capabilities(msgspec.Struct, rename="camel"):
    create_project: bool = False


class _Project(msgspec.Struct):
    name: str


class _Ref(msgspec.Struct):
    ref: str
    revision: str


class _Included(msgspec.Struct):
    branches: list[str] = []


class GerritClient:
    """One Gerrit. An async context manager.

    It is spoken to directly: proxies and .netrc of the environment are for the way to upstreams.

    Raises (all methods):
        UpstreamError: Gerrit cannot be reached, or fails.
        UsageError: the password is wrong, a right is missing, or something else than Gerrit answers.
        StateError: something is not there, or there already.
    """

    def __init__(self, place: GerritPlace) -> None:
        self.place = place
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> GerritClient:
        login = f"{self.place.user}:{read_secret(self.place.password_file)}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust(), limit=4),
            timeout=aiohttp.ClientTimeout(total=ANSWER, sock_connect=CONNECT),
            headers={
                "User-Agent": "kolla-airlock",
                "Accept": "application/json",
                "Authorization": f"Basic {base64.b64encode(login.encode()).decode()}",
            },
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def version(self) -> str:
        """Gerrit's version."""
        return await self._always("config/server/version", str, "ask its version")

    async def account(self) -> str:
        """Who this is to Gerrit: the user's name."""
        return (await self._always("accounts/self", _Account, "ask who this is")).username

    async def may_create_projects(self) -> bool:
        """Whether the user has the global capability."""
        path = "accounts/self/capabilities?q=createProject"
        return (await self._get(path, _Capabilities, "ask for rights")).create_project

    async def has_project(self, project: str) -> bool:
        """Whether there is a project that this user may see."""
        return await self._find(f"projects/{_part(project)}", _Project, f"ask for project {project}") is not None

    async def create_project(self, project: str, head: str) -> None:
        """Make a project without a commit.

        Args:
            head: name of the branch that HEAD names.
        """
        body = {"create_empty_commit": False, "branches": [head], "description": "Seeded by airlock import."}
        await self._ask("PUT", f"projects/{_part(project)}", f"create project {project}", body=body)

    async def branch(self, project: str, branch: str) -> str | None:
        """The commit that a branch is at; None where there is none, or no project, that this user may see."""
        what = f"ask for branch {branch} of {project}"
        found = await self._find(f"projects/{_part(project)}/branches/{_part(branch)}", _Ref, what)
        return found.revision if found else None

    async def tags(self, project: str) -> dict[str, str]:
        """Full name of every tag → the id of the tag object, or of the commit of one that has none."""
        found = await self._get(f"projects/{_part(project)}/tags/", list[_Ref], f"ask for the tags of {project}")
        return {one.ref: one.revision for one in found}

    async def branches_with(self, project: str, commit: str) -> list[str]:
        """The branches whose history has a commit; it must be in one of them."""
        path = f"projects/{_part(project)}/commits/{commit}/in"
        return (await self._get(path, _Included, f"ask for commit {commit[:12]} of {project}")).branches

    async def _always(self, path: str, kind: type[T], what: str) -> T:
        """What every Gerrit has."""
        found = await self._find(path, kind, what)
        if found is None:
            raise no_gerrit(self.place, what, "404")
        return found

    async def _get(self, path: str, kind: type[T], what: str) -> T:
        return self._read(await self._ask("GET", path, what), kind, what)

    async def _find(self, path: str, kind: type[T], what: str) -> T | None:
        data = await self._ask("GET", path, what, absent=True)
        return None if data is None else self._read(data, kind, what)

    async def _ask(self, method: str, path: str, what: str, *, body: Any = None, absent: bool = False) -> bytes | None:
        """One request: its answer; None for one of 404 where something may be ``absent``."""
        assert self._session is not None
        url = URL(f"{self.place.address}/a/{path}", encoded=True)
        data = bytearray()
        try:
            async with self._session.request(method, url, json=body, allow_redirects=False) as answer:
                async for chunk in answer.content.iter_chunked(1 << 16):
                    data += chunk
                    if len(data) > MAX_ANSWER:
                        raise no_gerrit(self.place, what, f"more than {MAX_ANSWER >> 20} MiB")
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise away(self.place, what, error) from None
        if status == 404 and absent:
            return None
        if not 200 <= status < 300:
            raise refused(self.place, what, status, data[:4096].decode("utf-8", "replace"))
        if not data.startswith(_GUARD):
            raise no_gerrit(self.place, what, "no answer of its REST API")
        return bytes(data[len(_GUARD) :])

    def _read(self, data: bytes | None, kind: type[T], what: str) -> T:
        assert data is not None
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise no_gerrit(self.place, what, str(error)) from None


def _part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
