"""What a firewall window lets requests be for: said before one is sent, so that the error can name the line to add."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from airlock.core.errors import WindowError
from airlock.core.settings import FetchTable
from airlock.fetch.http import shown

_PORTS = {"http": 80, "https": 443}


class Named:
    """The hosts of the window that is open now.

    Attributes:
        places: (name, port); None while there is no window to go through.
    """

    def __init__(self) -> None:
        self.places: frozenset[tuple[str, int]] | None = None
        self._upstreams: dict[tuple[str, int], str] = {}

    def become(self, places: frozenset[tuple[str, int]], addresses: Mapping[str, str]) -> None:
        """Take the hosts of another window; ``addresses``: of upstreams by name, for the remedy."""
        self.places = places
        self._upstreams = {_place(address): name for name, address in addresses.items()}

    def check(self, url: str) -> None:
        """A request is about to be made.

        Raises:
            WindowError: for a host that is not named.
        """
        if not self._lets(url):
            host, port = _place(url)
            raise WindowError(
                f"{shown(url)} is at {host}:{port}, which the window does not name", remedy=_line(url, "")
            )

    def check_redirect(self, url: str, location: str) -> None:
        """``url`` redirects to ``location``.

        Raises:
            WindowError: to a host that is not named.
        """
        target = urljoin(url, location)
        if not self._lets(target):
            host, port = _place(target)
            raise WindowError(
                f"{shown(url)} redirects to {host}:{port}, which the window does not name",
                remedy=_line(target, self._upstreams.get(_place(url), "")),
            )

    def _lets(self, url: str) -> bool:
        host, port = _place(url)
        return self.places is None or (host, port) in self.places or host in ("localhost", "127.0.0.1", "::1")


class NamedFetch(FetchTable, frozen=True):
    """How files are fetched, and what a window lets through."""

    named: Named = Named()


def through(settings: FetchTable, named: Named) -> NamedFetch:
    """The settings, with a window's names."""
    return NamedFetch(settings.connections, settings.retries, settings.timeout, named)


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 443)


def _line(url: str, upstream: str) -> str:
    host, port = _place(url)
    place = host if port == 443 else f"{host}:{port}"
    table = f"[upstreams.{upstream}]" if upstream else "[window]"
    return f'If it belongs to the upstream, add it in factory.toml: {table} hosts = ["{place}"]'
