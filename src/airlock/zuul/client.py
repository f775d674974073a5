"""The REST API of zuul-web, as far as builds that are triggered by hand need it. One answer, one typed value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from airlock.core.errors import AirlockError, UpstreamError, UsageError
from airlock.core.http import reason, trust
from airlock.zuul.model import Authorizations, Buildset, Project, Status

T = TypeVar("T")

TIMEOUT = 30.0  # seconds a request may take
MAX_ANSWER = 64 << 20  # bytes

_PAGE = re.compile(r"<h2>.*?</h2>\s*<p>(?P<text>[^<]+)</p>", re.DOTALL)
_SETTINGS = "See [zuul] in site.toml (docs/formats/settings.md)."


class ZuulClient:
    """One tenant of one Zuul. An async context manager. It is spoken to directly, past proxies of the environment.

    Raises (all methods):
        UpstreamError: Zuul cannot be reached, or fails.
        UsageError: it refuses the token, has no such tenant, project or pipeline, or something else answers.

    Args:
        address: of zuul-web, ``http://host:port``; a path in front of ``/api`` is kept.
        token: JSON web token; never in a message.
    """

    def __init__(self, address: str, tenant: str, token: str) -> None:
        self.address = address.rstrip("/")
        self.tenant = tenant
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ZuulClient:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust(), limit=4),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            headers={"User-Agent": "kolla-airlock"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    def page(self, buildset: str) -> str:
        """Where a person sees a buildset."""
        return f"{self.address}/t/{quote(self.tenant, safe='')}/buildset/{buildset}"

    async def project(self, name: str) -> Project:
        """What Zuul does for a project."""
        return await self._ask("GET", f"project/{quote(name)}", Project, f"project {name}")

    async def may_administer(self) -> bool:
        """Whether the token lets one enqueue and dequeue."""
        return (await self._ask("GET", "authorizations", Authorizations, "what the token may")).zuul.admin

    async def status(self) -> Status:
        """What is in the pipelines now."""
        return await self._ask("GET", "status", Status, "the pipelines")

    async def buildset(self, uuid: str) -> Buildset | None:
        """One buildset with its builds; None while (or where) there is none."""
        status, data = await self._send("GET", f"buildset/{quote(uuid, safe='')}")
        return None if status == 404 else self._read(status, data, Buildset, f"buildset {uuid}")

    async def buildsets(self, project: str, pipeline: str, limit: int = 50) -> list[Buildset]:
        """The newest buildsets of a project in a pipeline, without their builds."""
        query = {"project": project, "pipeline": pipeline, "limit": str(limit)}
        return await self._ask("GET", "buildsets", list[Buildset], "the buildsets", query=query)

    async def enqueue(self, project: str, pipeline: str, ref: str, commit: str, parameters: Mapping[str, str]) -> None:
        """Put a commit of a ref into a pipeline. That Zuul says yes does not mean that it will build it."""
        body = {"pipeline": pipeline, "ref": ref, "newrev": commit, "parameters": dict(parameters)}
        path = f"project/{quote(project)}/enqueue"
        await self._ask("POST", path, bool, f"pipeline {pipeline} of {project}", body=body)

    async def dequeue(self, project: str, pipeline: str, ref: str) -> None:
        """Take the first item that is about a ref out of a pipeline."""
        path = f"project/{quote(project)}/dequeue"
        body = {"pipeline": pipeline, "ref": ref}
        await self._ask("POST", path, bool, f"pipeline {pipeline} of {project}", body=body)

    async def _ask(self, method: str, path: str, kind: type[T], what: str, **more: Any) -> T:
        status, data = await self._send(method, path, **more)
        return self._read(status, data, kind, what)

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, bytes]:
        """One request: (status, answer).

        Raises:
            UpstreamError: Zuul cannot be reached.
        """
        assert self._session is not None
        url = URL(f"{self.address}/api/tenant/{quote(self.tenant, safe='')}/{path}", encoded=True)
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with self._session.request(
                method, url.update_query(query or {}), json=body, headers=headers, allow_redirects=False
            ) as answer:
                data = bytearray()
                async for chunk in answer.content.iter_chunked(1 << 16):
                    data += chunk
                    if len(data) > MAX_ANSWER:
                        raise self._strange(path, f"more than {MAX_ANSWER >> 20} MiB")
                return answer.status, bytes(data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UpstreamError(
                f"Zuul at {self.address} cannot be reached: {reason(error)}",
                remedy=f"See that zuul-web runs there. {_SETTINGS}",
            ) from None

    def _read(self, status: int, data: bytes, kind: type[T], what: str) -> T:
        """An answer's value.

        Raises:
            UpstreamError: Zuul fails.
            UsageError: it refuses the token, knows no such tenant, project, pipeline, or is no Zuul.
        """
        if status != 200:
            raise self._refused(status, data, what)
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._strange(what, str(error)) from None

    def _strange(self, what: str, how: str) -> UsageError:
        return UsageError(
            f"{self.address} does not answer about {what} as Zuul does: {how}",
            remedy=f"[zuul] address is that of zuul-web itself. {_SETTINGS}",
        )

    def _refused(self, status: int, data: bytes, what: str) -> AirlockError:
        if status in (401, 403):
            why = "does not know the token" if status == 401 else f"does not let the token administer {self.tenant}"
            return UsageError(
                f"Zuul at {self.address} {why} ({status}): it may be expired, of another Zuul, or for less than this",
                remedy=f"Ask Zuul's administrator for one with zuul.admin for tenant {self.tenant}, "
                "and write it into [zuul] token_file.",
            )
        said = _message(data)
        if status in (400, 404) and not said:
            return self._strange(what, str(status))
        if status == 404:
            return UsageError(f"Zuul at {self.address} has no {what} in tenant {self.tenant}{said}", remedy=_SETTINGS)
        if status == 400:
            return UsageError(f"Zuul at {self.address} refuses {what}{said}", remedy=_SETTINGS)
        return UpstreamError(
            f"Zuul at {self.address} answers {status} about {what}{said}", remedy="See zuul-web's log there."
        )


def _message(data: bytes) -> str:
    """What zuul-web says of an error, on its page or in its document; cut, since it is not ours."""
    if found := _PAGE.search(data.decode("utf-8", "replace")):
        said = found["text"]
    else:
        try:
            document = msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return ""
        said = document.get("description", "") if isinstance(document, dict) else ""
    return f": {said[:200]}" if isinstance(said, str) and said else ""
