"""The time that a registry's image gives to its children: its configuration's, whatever form it has."""

import msgspec
import pytest

from airlock.build.timestamps import file_time
from airlock.core.errors import IntegrityError
from airlock.lock.model import Artifact


def image(name: str) -> Artifact:
    return Artifact(
        id=f"image/{name}", kind="image", name="debian", version="bookworm", arch="any", file=name, sha256="0" * 64,
        size=1, upstream="registry.example.org", path="debian@sha256:00", trust="declared",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ('{"created": "2024-05-06T07:08:09.123456789Z", "rootfs": {}}', 1_714_979_289),
        ('{"created": "2024-05-06T09:08:09+02:00"}', 1_714_979_289),
        ('{"created": "1970-01-01T00:00:01Z"}', 1),
        ('{"created": "0001-01-01T00:00:00Z"}', 0),
        ('{"created": null}', 0),
        ('{"schemaVersion": 2, "layers": []}', 0),
    ],
)
def test_the_configuration_tells_the_time_and_a_manifest_none(tmp_path, text, seconds):
    path = tmp_path / "file.json"
    path.write_text(text)
    assert file_time(image("file.json"), path) == seconds


def test_a_layer_has_no_time_of_its_own_and_a_broken_configuration_is_named(tmp_path):
    layer = tmp_path / "layer.tar.gz"
    layer.write_bytes(b"anything")
    assert file_time(image("layer.tar.gz"), layer) == 0
    for text in ("{", '{"created": "yesterday"}', '{"created": 7}'):
        path = tmp_path / "file.json"
        path.write_text(text)
        with pytest.raises(IntegrityError, match=r"image/file\.json"):
            file_time(image("file.json"), path)


def test_a_bare_binary_has_no_time_of_its_own(tmp_path):
    path = tmp_path / "cadvisor-linux-amd64"
    path.write_bytes(b"\x7fELF" + bytes(5000))
    for kind in ("source", "file"):
        assert file_time(msgspec.structs.replace(image(path.name), kind=kind), path) == 0
    with pytest.raises(IntegrityError, match="not a whole sdist"):
        file_time(msgspec.structs.replace(image(path.name), kind="sdist"), path)
