"""Fetch one archive through the witness while locking, of any size, without holding it in memory."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

import aiohttp

from airlock.core.digest import CHUNK
from airlock.core.errors import GoneError, UpstreamError
from airlock.fetch.witness import Witness

_ATTEMPTS = 4
"""The witness cuts a client off where an upstream made it begin anew; the next request gets what has arrived."""


async def fetch(witness: Witness, upstream: str, path: str, what: str) -> tuple[str, int]:
    """(sha256, size) of a file below an upstream, which is in the pool afterwards.

    Args:
        path: unquoted.
        what: for messages.

    Raises:
        GoneError: the upstream has no such file.
        UpstreamError: it fails after all retries.
    """
    url = f"{witness.url(upstream)}/{quote(path, safe='/?=&')}"
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        for attempt in range(_ATTEMPTS):
            try:
                return await _read(session, url, f"{what}: {path}", upstream)
            except aiohttp.ClientError as error:
                if attempt == _ATTEMPTS - 1:
                    raise UpstreamError(f"{what}: {upstream} keeps breaking off {path}: {error}") from None
    raise AssertionError("unreachable")


async def _read(session: aiohttp.ClientSession, url: str, what: str, upstream: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    async with session.get(url) as answer:
        if answer.status == 404:
            raise GoneError(
                f"{what} is not at the upstream {upstream}",
                remedy="Set openstack_branch or the section's version under [kolla.conf], or take a release under "
                "[sources.release] in the definition.",
            )
        if answer.status != 200:
            raise UpstreamError(f"{what}: {(await answer.text())[:500]}")
        async for chunk in answer.content.iter_chunked(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
