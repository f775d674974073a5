"""Where images are published, and that a registry which is not there stops a build before it begins."""

from __future__ import annotations

import socket

import pytest

from airlock.build.publish import destination, require_registry
from airlock.core.errors import UpstreamError
from airlock.core.settings import ImagesTable, Site, SiteFile


def site(tmp_path, images: ImagesTable) -> Site:
    return Site(tmp_path, SiteFile(images=images))


async def test_a_registry_that_listens_is_enough(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        await require_registry(site(tmp_path, ImagesTable(registry=f"http://127.0.0.1:{server.getsockname()[1]}")))


async def test_a_registry_that_is_down_is_named_with_its_address(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UpstreamError, match=f"http://127.0.0.1:{port} takes no connection") as raised:
        await require_registry(site(tmp_path, ImagesTable(registry=f"http://127.0.0.1:{port}")))
    assert "site.toml" in raised.value.remedy


async def test_an_oci_layout_needs_nobody_to_listen(tmp_path):
    await require_registry(site(tmp_path, ImagesTable(oci="images")))


@pytest.mark.parametrize(
    ("images", "reference", "verified"),
    [
        (ImagesTable(registry="http://127.0.0.1:5000"), "127.0.0.1:5000/kolla/base:r1", False),
        (ImagesTable(registry="https://registry.example.org/"), "registry.example.org/kolla/base:r1", True),
    ],
)
def test_only_plain_http_goes_without_a_certificate(tmp_path, images, reference, verified):
    place = destination(site(tmp_path, images), "base", "r1")
    assert (place.transport, place.reference, place.verify_tls) == (f"docker://{reference}", reference, verified)
