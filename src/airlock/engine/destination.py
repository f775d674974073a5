"""Where a site's images lie: in its registry, or in its OCI layout."""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import UpstreamError
from airlock.core.settings import Site
from airlock.engine.image_manifest import Reference

PATIENCE = 10.0  # seconds that a registry has to take a connection


STAGING = "staging"


class Destination(msgspec.Struct, frozen=True):
    """An image's place: ``transport`` as skopeo names it (``docker://…``, ``oci:…``), ``reference`` as people do."""

    transport: str
    reference: str


def destination(site: Site, image: str, tag: str) -> Destination:
    """The place of one built image of a site."""
    images = site.settings.images
    if images.oci:
        folder = (site.root / images.oci).resolve()
        place = f"oci:{folder}:{images.namespace}/{image}:{tag}"
        return Destination(place, place)
    return _in_registry(images.registry, f"{images.namespace}/{image}:{tag}")


def staging_tag(build_id: str) -> str:
    """The tag that a build's images bear from the moment they are pushed; no other build has it."""
    return f"{STAGING}-{build_id}"


def base_destination(site: Site, reference: Reference, tag: str) -> Destination:
    """The place in the site's registry of a base image that a bundle brought."""
    images = site.settings.images
    return _in_registry(images.registry, f"{images.base_namespace}/{reference.repository}:{tag}")


def _in_registry(registry: str, name: str) -> Destination:
    place = f"{registry.rpartition('://')[2].rstrip('/')}/{name}"
    return Destination(f"docker://{place}", place)


async def require_registry(site: Site) -> None:
    """See that the site's registry takes connections, before anything is done for it.

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
            f"the registry {registry} takes no connection: {_why(error)}",
            remedy="Start it, or correct [images] in site.toml.",
        ) from None
    writer.close()


def _why(error: Exception) -> str:
    if isinstance(error, ValueError):
        return "its port is not a number"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number).lower() if number and number > 0 else str(error) or "it does not answer"
