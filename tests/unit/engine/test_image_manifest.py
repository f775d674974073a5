"""References and manifests: the digest decides, and nothing that is not meant is taken for an image."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.image_registry import Image, descriptor, manifest_list

from airlock.core.errors import AirlockError, DefinitionError, FormatError, IntegrityError, ResolutionError
from airlock.engine.image_manifest import image_files, is_reference, parse_reference

DIGEST = "sha256:" + "ab" * 32


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Shelf:
    """What ``image_files`` reads from."""

    def __init__(self, *documents: bytes) -> None:
        self.held = {sha(data): data for data in documents}

    def __call__(self, sha256: str, manifest: str) -> bytes:
        return self.held[sha256]


def reference(data: bytes) -> Any:
    return parse_reference(f"registry.example.org/debian:bookworm@sha256:{sha(data)}")


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag"),
    [
        (f"registry.example.org/debian:bookworm@{DIGEST}", "registry.example.org", "debian", "bookworm"),
        (f"registry.example.org:5000/a/b-c/debian@{DIGEST}", "registry.example.org:5000", "a/b-c/debian", ""),
        (f"localhost/debian:12.7-slim@{DIGEST}", "localhost", "debian", "12.7-slim"),
    ],
)
def test_a_reference_is_read_and_written_again(text, registry, repository, tag):
    found = parse_reference(text)
    assert (found.registry, found.repository, found.tag, found.digest) == (registry, repository, tag, "ab" * 32)
    assert str(found) == text
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        f"debian:bookworm@{DIGEST}",
        f"library/debian@{DIGEST}",
        "registry.example.org/debian:bookworm",
        "registry.example.org/debian@sha256:12",
        f"registry.example.org/../debian@{DIGEST}",
        f"registry.example.org/Debian@{DIGEST}",
        f"-oProxy.example.org/debian@{DIGEST} x",
        f"http://registry.example.org/debian@{DIGEST}",
    ],
)
def test_a_reference_without_registry_or_digest_is_refused(text):
    with pytest.raises(DefinitionError, match=r"base\.image"):
        parse_reference(text)


def test_the_list_leads_to_the_image_of_the_architecture():
    amd, arm = Image([b"one" * 400]), Image([b"two"], architecture="arm64")
    listed = manifest_list([arm, amd])
    shelf = Shelf(listed, amd.manifest, amd.config, arm.manifest, arm.config)
    found = image_files(reference(listed), "amd64", shelf)
    assert found.index is not None
    assert [blob.sha256 for blob in found.blobs] == [
        sha(listed),
        sha(amd.manifest),
        sha(amd.config),
        sha(amd.packed[0]),
    ]
    assert found.diff_ids == (sha(b"one" * 400),)
    assert found.created.startswith("2024-05-06")
    assert image_files(reference(listed), "arm64", shelf).config.sha256 == sha(arm.config)
    with pytest.raises(ResolutionError, match="linux amd64, linux arm64"):
        image_files(reference(listed), "riscv64", shelf)


def test_an_image_for_another_architecture_is_refused():
    image = Image([b"one"], architecture="arm64")
    with pytest.raises(ResolutionError, match="linux arm64, not for linux amd64"):
        image_files(reference(image.manifest), "amd64", Shelf(image.manifest, image.config))


def test_an_image_that_podman_could_not_build_on_is_refused():
    image = Image([b"one", b"two"], history=False)
    with pytest.raises(FormatError, match="tells of 0 layers, it has 2"):
        image_files(reference(image.manifest), "amd64", Shelf(image.manifest, image.config))


def changed(image: Image, **fields: Any) -> bytes:
    return json.dumps(json.loads(image.manifest) | fields).encode()


@pytest.mark.parametrize(
    "fields",
    [
        {"schemaVersion": 1},
        {"manifests": []},
        {"layers": None},
        {"config": None},
        {
            "layers": [
                {"digest": "sha512:" + "0" * 128, "size": 1, "mediaType": "application/vnd.oci.image.layer.v1.tar"}
            ]
        },
        {"layers": [{"digest": "sha256:../../x", "size": 1, "mediaType": "application/vnd.oci.image.layer.v1.tar"}]},
        {"layers": [{"digest": DIGEST, "size": -1, "mediaType": "application/vnd.oci.image.layer.v1.tar"}]},
        {"layers": [{"digest": DIGEST, "size": 1, "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"}]},
        {"layers": []},
        {"layers": "many"},
    ],
)
def test_what_is_no_image_is_refused(fields):
    image = Image([b"one"])
    data = changed(image, **fields)
    with pytest.raises(FormatError, match=r"registry\.example\.org/debian"):
        image_files(reference(data), "amd64", Shelf(data, image.config))


def test_other_bytes_than_a_digest_names_are_refused():
    image = Image([b"one"])
    shelf = Shelf(image.manifest, image.config)
    shelf.held[sha(image.config)] = image.config.replace(b"bash", b"dash")
    with pytest.raises(IntegrityError, match=sha(image.config)):
        image_files(reference(image.manifest), "amd64", shelf)
    lying = changed(image, config=descriptor(image.config) | {"size": 5})
    with pytest.raises(IntegrityError):
        image_files(reference(lying), "amd64", Shelf(lying, image.config))


KEYS = st.sampled_from(["manifests", "layers", "config", "digest", "size", "platform", "schemaVersion"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8)


@given(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5)))
def test_any_document_gives_an_image_or_an_error_for_a_person(value):
    data = json.dumps(value).encode()
    with pytest.raises(AirlockError):
        image_files(reference(data), "amd64", Shelf(data))
