"""Where a built image is published: the site's registry, or its OCI layout."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import UpstreamError
from airlock.core.settings import Site

PATIENCE = 10.0  # seconds that a registry has to take a connection


class Destination(msgspec.Struct, frozen=True):
    """A published image's place.

    Attributes:
        transport: as skopeo names it (``docker://…``, ``oci:…``).
        reference: as a person names it.
        verify_tls: whether the registry must have a valid certificate.
    """

    transport: str
    reference: str
    verify_tls: bool


def destination(site: Site, image: str, tag: str) -> Destination:
    """The place of one image of a site."""
    images = site.settings.images
    if images.oci:
        folder = (site.root / images.oci).resolve()
        place = f"oci:{folder}:{images.namespace}/{image}:{tag}"
        return Destination(place, place, True)
    scheme, _, host = images.registry.rpartition("://")
    name = f"{host.rstrip('/')}/{images.namespace}/{image}:{tag}"
    return Destination(f"docker://{name}", name, scheme != "http")


async def require_registry(site: Site) -> None:
    """See that the site's registry takes connections, before anything is built for it.

    Raises:
        UpstreamError: it does not.
    """
    registry = site.settings.images.registry
    if not registry:
        return
    address = urlsplit(registry)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        _, writer = await asyncio.wait_for(asyncio.open_connection(address.hostname, port), PATIENCE)
    except (OSError, TimeoutError, ValueError) as error:
        raise UpstreamError(
            f"the registry {registry} takes no connection: {_why(error)}; nothing was built",
            remedy="Start it, or correct [images] in site.toml.",
        ) from None
    writer.close()


def _why(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "its port is not a number"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error) or "it does not answer"
