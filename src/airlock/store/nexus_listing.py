"""What a Nexus says that it has: the files of a repository, page by page, and the room of its blob store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from airlock.core.digest import is_sha256
from airlock.core.errors import IntegrityError, UsageError
from airlock.core.paths import safe_relative
from airlock.store.artifacts import StoredFile
from airlock.store.nexus_client import NexusClient
from airlock.store.nexus_errors import RefusedError, away, unknown

T = TypeVar("T")


class _Checksum(msgspec.Struct):
    sha256: str = ""


class _Asset(msgspec.Struct, rename="camel"):
    path: str
    checksum: _Checksum = msgspec.field(default_factory=_Checksum)
    file_size: int | None = None


class Page(msgspec.Struct, rename="camel"):
    """One answer of ``/v1/assets``; ``continuation_token`` asks for the next."""

    items: list[_Asset]
    continuation_token: str | None = None


class _BlobStore(msgspec.Struct, rename="camel"):
    name: str
    available_space_in_bytes: int = 0


class _Storage(msgspec.Struct, rename="camel"):
    blob_store_name: str


class _Hosted(msgspec.Struct):
    storage: _Storage


async def page(client: NexusClient, session: aiohttp.ClientSession, token: str | None) -> Page:
    """One page of the repository's files: ten, from Nexus 3.74 on a hundred.

    Raises:
        UsageError: there is no such repository, or the user may not see it.
    """
    what = "list its files"
    more = f"&continuationToken={quote(token, safe='')}" if token else ""
    url = client.rest(f"assets?repository={quote(client.place.repository, safe='')}{more}")

    async def once() -> Page:
        async with client.request(session, "GET", url, what) as answer:
            if answer.status == 404:
                raise unknown(client.place, what)
            return await client.document(answer, what, Page)

    try:
        return await client.repeat(what, once)
    except RefusedError as refused:
        raise away(client.place, what, refused) from None


def stored_files(listed: Page, prefix: str) -> Iterator[StoredFile]:
    """The files of a page below a folder; those are passed over whose names no store of Airlock's would have.

    A size of -1 stands for one that this Nexus (an old one) does not tell.
    """
    for asset in listed.items:
        path = asset.path.removeprefix("/")
        try:
            safe_relative(path)
        except IntegrityError:
            continue
        if not prefix or path.startswith(f"{prefix}/"):
            size = -1 if asset.file_size is None else asset.file_size
            yield StoredFile(path, size, asset.checksum.sha256 if is_sha256(asset.checksum.sha256) else "")


async def measured(client: NexusClient, file: StoredFile, session: aiohttp.ClientSession) -> StoredFile:
    """The same file with the size that HEAD tells, -1 where it is gone."""
    what = f"ask for the size of {file.path}"

    async def once() -> int:
        async with client.request(session, "HEAD", client.file(file.path), what) as answer:
            return -1 if answer.status == 404 or answer.content_length is None else answer.content_length

    try:
        return StoredFile(file.path, await client.repeat(what, once), file.sha256)
    except RefusedError as refused:
        raise away(client.place, what, refused) from None


async def free_space(client: NexusClient, session: aiohttp.ClientSession) -> int | None:
    """Free bytes of the repository's blob store; None where this user may not see them.

    Seeing them takes nx-blobstores-read, and with several blob stores nx-repository-admin-raw-<repository>-read.
    """
    what = "ask for the free space of its blob store"

    async def ask(path: str, kind: type[T]) -> T | None:
        async def once() -> T | None:
            async with client.request(session, "GET", client.rest(path), what) as answer:
                return None if answer.status == 404 else await client.document(answer, what, kind)

        try:
            return await client.repeat(what, once)
        except (UsageError, RefusedError):  # not for this user's eyes
            return None

    stores = await ask("blobstores", list[_BlobStore]) or []
    if len(stores) > 1:
        hosted = await ask(f"repositories/raw/hosted/{client.place.repository}", _Hosted)
        stores = [one for one in stores if hosted is not None and one.name == hosted.storage.blob_store_name]
    return stores[0].available_space_in_bytes if len(stores) == 1 else None
