"""Base images of a bundle in a real registry: under their own digest, sent once, with a login, read back."""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.image_registry import Image, Registry, htpasswd, manifest_list, registry, tar

from airlock.core.errors import IntegrityError, UpstreamError
from airlock.engine.image_manifest import Reference
from airlock.engine.push import push_image, retag
from airlock.engine.skopeo import Access, write_authfile

pytestmark = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")), reason="docker-registry or skopeo is missing"
)
PLAIN = Access(verify_tls=False)
LAYERS = (tar({"etc/": None, "etc/release": b"12\n"}), tar({"etc/more": b"x" * 100_000}))
IMAGES = (Image(LAYERS), Image(LAYERS[:1], architecture="arm64"))
REFERENCE = Reference("registry.example.org", "debian", "bookworm", hashlib.sha256(IMAGES[0].manifest).hexdigest())
LISTED = Reference("registry.example.org", "debian", "bookworm", hashlib.sha256(manifest_list(IMAGES)).hexdigest())


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """sha256 → file, as a bundle has them."""
    found = {}
    for data in [manifest_list(IMAGES), *(blob for one in IMAGES for blob in [one.manifest, *one.blobs.values()])]:
        sha256 = hashlib.sha256(data).hexdigest()
        found[sha256] = tmp_path / sha256
        found[sha256].write_bytes(data)
    return found


def digest_of(served: Registry, name: str, tag: str) -> str:
    request = urllib.request.Request(
        f"{served.address}/v2/{name}/manifests/{tag}", headers={"Accept": "application/vnd.oci.image.manifest.v1+json"}
    )
    with urllib.request.urlopen(request) as answer:
        return f"sha256:{hashlib.sha256(answer.read()).hexdigest()}"


def test_an_image_keeps_its_digest_and_is_sent_once(files, tmp_path):
    with registry(tmp_path) as served:
        place = f"docker://{served.host}/base/debian:r1"
        digest, sent = push_image(REFERENCE, "amd64", files, place, PLAIN, tmp_path / "work")
        again = push_image(REFERENCE, "amd64", files, place, PLAIN, tmp_path / "work")
        assert (digest, sent) == (f"sha256:{REFERENCE.digest}", True)
        assert again == (digest, False)
        assert digest_of(served, "base/debian", "r1") == digest
    assert not (tmp_path / "work").exists()


def test_of_a_list_the_image_of_the_architecture_is_sent_under_its_own_digest(files, tmp_path):
    with registry(tmp_path) as served:
        place = f"docker://{served.host}/base/debian:r1-arm64"
        digest, _ = push_image(LISTED, "arm64", files, place, PLAIN, tmp_path / "work")
        assert digest == f"sha256:{hashlib.sha256(IMAGES[1].manifest).hexdigest()}"
        assert digest_of(served, "base/debian", "r1-arm64") == digest


def test_a_layer_with_other_bytes_never_gets_a_name_in_the_registry(files, tmp_path):
    layer = hashlib.sha256(IMAGES[0].packed[1]).hexdigest()
    files[layer].write_bytes(b"y" + files[layer].read_bytes()[1:])
    with registry(tmp_path) as served:
        with pytest.raises((IntegrityError, UpstreamError), match=layer[:12]):
            push_image(REFERENCE, "amd64", files, f"docker://{served.host}/base/debian:r1", PLAIN, tmp_path / "work")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            digest_of(served, "base/debian", "r1")


def test_a_missing_layer_is_named_and_what_to_do(files, tmp_path):
    layer = hashlib.sha256(IMAGES[0].packed[1]).hexdigest()
    files[layer].unlink()
    with registry(tmp_path) as served, pytest.raises(IntegrityError, match=layer) as raised:
        push_image(REFERENCE, "amd64", files, f"docker://{served.host}/base/debian:r1", PLAIN, tmp_path / "work")
    assert "mport the bundle again" in raised.value.remedy


def test_a_tag_that_names_another_image_is_moved(files, tmp_path):
    with registry(tmp_path) as served:
        place = f"docker://{served.host}/base/debian:r1"
        push_image(LISTED, "arm64", files, place, PLAIN, tmp_path / "work")
        digest, sent = push_image(REFERENCE, "amd64", files, place, PLAIN, tmp_path / "work")
        assert sent
        assert digest_of(served, "base/debian", "r1") == digest


async def test_a_second_tag_names_the_same_image(files, tmp_path):
    with registry(tmp_path) as served:
        place = f"docker://{served.host}/kolla/base"
        digest, _ = push_image(REFERENCE, "amd64", files, f"{place}:staging-1", PLAIN, tmp_path / "work")
        await retag(f"{place}:staging-1", f"{place}:r1", digest, PLAIN, tmp_path / "retag")
        assert digest_of(served, "kolla/base", "r1") == digest
        with pytest.raises(UpstreamError, match="staging-2"):
            await retag(f"{place}:staging-2", f"{place}:r2", digest, PLAIN, tmp_path / "retag")


def test_a_registry_with_a_login_takes_it_and_names_what_lacks_without(files, tmp_path):
    (tmp_path / "htpasswd").write_text(htpasswd("user", "s3cret"))
    with registry(tmp_path, tmp_path / "htpasswd") as served:
        place = f"docker://{served.host}/base/debian:r1"
        with pytest.raises(UpstreamError) as raised:
            push_image(REFERENCE, "amd64", files, place, PLAIN, tmp_path / "work")
        assert "password_file" in raised.value.remedy
        authfile = tmp_path / "auth.json"
        write_authfile(authfile, served.host, "user", "s3cret")
        assert push_image(REFERENCE, "amd64", files, place, Access(False, authfile), tmp_path / "work")[1]
    assert json.loads(authfile.read_text())["auths"].keys() == {served.host}


def test_a_registry_that_is_down_is_named(files, tmp_path):
    with pytest.raises(UpstreamError, match=r"127\.0\.0\.1:1/base"):
        push_image(REFERENCE, "amd64", files, "docker://127.0.0.1:1/base/debian:r1", PLAIN, tmp_path / "work")
