"""What every request to an upstream shares: the session, how patiently it is tried, how addresses read."""

from __future__ import annotations

import random
import ssl
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
from yarl import URL

from airlock.core.http import trust
from airlock.core.settings import FetchTable

FIRST_PAUSE = 0.5  # seconds before the second attempt; doubles with each further one
LONGEST_PAUSE = 30.0
CHUNK = 1 << 17  # bytes taken from the network at a time
TRANSIENT = (aiohttp.ClientError, TimeoutError, ConnectionError, ssl.SSLError)
"""What may pass when it is tried again."""


class Refused(aiohttp.ClientError):
    """An upstream answered, but neither with the file nor with `there is none`."""

    def __init__(self, status: int, reason: str | None) -> None:
        super().__init__(f"it answers {status} {reason or ''}".rstrip())
        self.status = status


class Names(Protocol):
    """What requests may be for, while a firewall's window is open (``fetch.named``)."""

    def check(self, url: str) -> None:
        """A request is about to be made."""

    def check_redirect(self, url: str, location: str) -> None:
        """An upstream redirects."""


def session(settings: FetchTable) -> aiohttp.ClientSession:
    """A client that honours the machine's proxies, .netrc and certificates, and takes bodies as they are."""
    connections = max(settings.connections, 1)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=trust(), limit=0, limit_per_host=connections),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.timeout, sock_read=settings.timeout),
        headers={"User-Agent": "kolla-airlock", "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=True,
        trace_configs=[_checking(names)] if (names := getattr(settings, "named", None)) else None,
    )


def _checking(names: Names) -> aiohttp.TraceConfig:
    """Every request and redirect is checked before it is followed."""

    async def start(_: aiohttp.ClientSession, __: object, what: aiohttp.TraceRequestStartParams) -> None:
        names.check(str(what.url))

    async def redirect(_: aiohttp.ClientSession, __: object, what: aiohttp.TraceRequestRedirectParams) -> None:
        location = what.response.headers.get("Location", "")
        try:
            names.check_redirect(str(what.url), location)
        except BaseException:
            what.response.close()
            raise

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(start)
    trace.on_request_redirect.append(redirect)
    return trace


def pause(attempt: int) -> float:
    """Seconds to wait after attempt number ``attempt`` (from 0): growing, jittered so that clients do not march."""
    return float(min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.5))  # noqa: S311


def below(address: str, path: str) -> str:
    """URL of ``path`` (unquoted; what follows a ``?`` is taken as it is) below an upstream's address."""
    place, mark, query = path.partition("?")
    return f"{address.rstrip('/')}/{quote(place, safe='/+~:@!$&()*,;=')}{mark}{query}"


def request_url(url: str) -> URL:
    """The URL as it is, without a second round of quoting, if it is quoted already."""
    return URL(url, encoded=True) if url.isascii() and " " not in url else URL(url)


def shown(url: str) -> str:
    """A URL for messages: without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def with_credentials(url: str, address: str) -> str:
    """``url`` with the user and password of ``address`` where both are on one host (as pip does)."""
    theirs, ours = urlsplit(url), urlsplit(address)
    credentials, _, host = ours.netloc.rpartition("@")
    if credentials and theirs.netloc == host and theirs.scheme == ours.scheme:
        return urlunsplit(theirs._replace(netloc=ours.netloc))
    return url
