"""The backend ``none``: no window at all, and a record that says so."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from airlock.core.settings import WindowTable
from airlock.evidence.window import OpenHost

UNSET = "no [window] stands in factory.toml"
CANNOT_PROVE = ["Nothing of Airlock's kept these commands from reaching anything else."]


def why(settings: WindowTable) -> str:
    """Why there is no window."""
    return settings.why or UNSET


def hosts(addresses: Mapping[str, str]) -> list[OpenHost]:
    """The hosts that upstreams have, whatever they are: nothing is opened for them."""
    found: dict[tuple[str, int], list[str]] = {}
    for name, address in sorted(addresses.items()):
        parts = urlsplit(address)
        place = (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443))
        found.setdefault(place, []).append(name)
    return [OpenHost(name=name, port=port, upstreams=by) for (name, port), by in sorted(found.items())]
