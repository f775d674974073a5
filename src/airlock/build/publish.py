"""Where a built image is published: the site's registry, or its OCI layout."""

from __future__ import annotations

import msgspec

from airlock.core.settings import Site


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
