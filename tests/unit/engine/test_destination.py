"""Where images lie and with what login, and that a registry which is not there stops a build before it begins."""

from __future__ import annotations

import base64
import json
import socket

import pytest

from airlock.bundle.manifest import bundle_id
from airlock.core.errors import UpstreamError
from airlock.core.settings import ImagesTable, Site, SiteFile
from airlock.engine.destination import destination, require_registry, staging_tag
from airlock.engine.skopeo import Access, site_access


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
    assert (place.transport, place.reference) == (f"docker://{reference}", reference)
    with site_access(site(tmp_path, images)) as access:
        assert access == Access(verify_tls=verified)


def test_a_login_is_handed_on_in_a_file_of_its_owner_alone_and_is_gone_afterwards(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    images = ImagesTable(registry="https://registry.example.org", user="site", password_file="password")
    with site_access(site(tmp_path, images)) as access:
        assert access.authfile is not None
        assert access.authfile.stat().st_mode & 0o077 == 0
        logins = json.loads(access.authfile.read_text())["auths"]
        assert base64.b64decode(logins["registry.example.org"]["auth"]) == b"site:s3cret"
        assert "s3cret" not in " ".join(access.options("dest"))
    assert not access.authfile.exists()


def test_no_tag_of_a_build_is_too_long_for_a_registry():
    bundle = bundle_id("s" * 80, 2**31)
    assert len(staging_tag(f"{bundle}-20261124T200000Z")) <= 128
    assert len(f"{bundle}-amd64") <= 128
