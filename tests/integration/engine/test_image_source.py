"""Images from a real registry: what lands in the pool is what the digest names, whatever the registry does."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.image_registry import Image, Registry, htpasswd, registry, tar

from airlock.core.errors import AirlockError, GoneError, IntegrityError, UpstreamError
from airlock.core.settings import FetchTable
from airlock.engine.image_manifest import Reference
from airlock.engine.image_source import fetch_image, pool_files
from airlock.store.pool import Pool

pytestmark = pytest.mark.skipif(
    not (shutil.which("docker-registry") and shutil.which("skopeo")), reason="docker-registry or skopeo is missing"
)
HASTY = FetchTable(retries=0, timeout=20)


def noise(seed: int) -> bytes:
    return tar({f"file{seed}": random.Random(seed).randbytes(300_000)})


@pytest.fixture
def served(tmp_path) -> Iterator[Registry]:
    with registry(tmp_path) as place:
        yield place


@pytest.fixture
def pool(tmp_path) -> Pool:
    return Pool(tmp_path / "pool")


def reference(digest: str) -> Reference:
    return Reference("registry.example.org", "library/debian", "bookworm", digest.removeprefix("sha256:"))


def held(pool: Pool) -> set[str]:
    return {path.name for path in pool.root.glob("??/*")}


def test_exactly_the_image_of_one_architecture_lands_in_the_pool(served, pool):
    amd, arm = Image([noise(1), noise(2)]), Image([noise(3)], architecture="arm64")
    asked = reference(served.push("library/debian", [arm, amd]))
    found = fetch_image(pool, asked, "amd64", served.address, HASTY)
    names = {asked.digest, hashlib.sha256(amd.manifest).hexdigest(), *amd.blobs}
    assert held(pool) == names == {blob.sha256 for blob in found.blobs}
    assert all(not pool.check(blob.sha256, blob.size) for blob in found.blobs)
    assert list((pool.root / "incoming").iterdir()) == []
    assert pool_files(pool, asked, "amd64") == found


def test_no_layer_is_fetched_twice(served, pool):
    image = Image([noise(1), noise(2)])
    asked = reference(served.push("library/debian", [image]))
    first = fetch_image(pool, asked, "amd64", served.address, HASTY)
    lost, kept = first.layers
    pool.path(lost.sha256).unlink()
    served.blob(kept.sha256).unlink()  # so that asking for it would fail
    assert fetch_image(pool, asked, "amd64", served.address, HASTY) == first
    assert not pool.check(lost.sha256, lost.size)
    assert fetch_image(pool, asked, "amd64", "http://127.0.0.1:1", HASTY) == first


def test_what_arrived_before_a_break_is_kept(served, pool):
    image = Image([noise(1), noise(2)])
    asked = reference(served.push("library/debian", [image]))
    second = served.blob(hashlib.sha256(image.packed[1]).hexdigest())
    aside = second.with_name("aside")
    second.rename(aside)
    with pytest.raises(GoneError, match=second.parent.name):
        fetch_image(pool, asked, "amd64", served.address, HASTY)
    aside.rename(second)
    served.blob(hashlib.sha256(image.packed[0]).hexdigest()).unlink()
    found = fetch_image(pool, asked, "amd64", served.address, HASTY)
    assert all(not pool.check(blob.sha256, blob.size) for blob in found.blobs)


@pytest.mark.parametrize("victim", ["list", "manifest", "config", "layer"])
def test_other_bytes_are_refused_and_not_kept(served, pool, victim):
    image = Image([noise(1)])
    asked = reference(served.push("library/debian", [image]))
    sha256 = {
        "list": asked.digest,
        "manifest": hashlib.sha256(image.manifest).hexdigest(),
        "config": hashlib.sha256(image.config).hexdigest(),
        "layer": hashlib.sha256(image.packed[0]).hexdigest(),
    }[victim]
    data = served.blob(sha256).read_bytes()
    served.blob(sha256).write_bytes(data[:-20] + bytes(byte ^ 1 for byte in data[-20:-10]) + data[-10:])
    with pytest.raises(AirlockError) as caught:
        fetch_image(pool, asked, "amd64", served.address, HASTY)
    assert str(asked) in caught.value.message
    if victim in ("config", "layer"):
        assert isinstance(caught.value, IntegrityError)
    assert not pool.has(sha256)
    assert all(hashlib.sha256(pool.path(name).read_bytes()).hexdigest() == name for name in held(pool))


def test_a_digest_that_the_registry_does_not_have_is_gone(served, pool):
    served.push("library/debian", [Image([noise(1)])])
    with pytest.raises(GoneError, match="manifest unknown") as caught:
        fetch_image(pool, reference("0" * 64), "amd64", served.address, HASTY)
    assert "base.image" in caught.value.remedy
    assert "Traceback" not in caught.value.message


def test_a_registry_that_is_down_is_named_with_the_setting_that_replaces_it(pool):
    with pytest.raises(UpstreamError, match=r"http://127\.0\.0\.1:1: ") as caught:
        fetch_image(pool, reference("0" * 64), "amd64", "http://127.0.0.1:1", HASTY)
    assert '[upstreams."registry.example.org"]' in caught.value.remedy


def test_a_registry_that_wants_a_login_gets_it_from_a_file(tmp_path, pool, monkeypatch):
    """Never on a command line: there, every user of the machine could read it."""
    image = Image([noise(1)])
    with registry(tmp_path) as open_to_all:
        asked = reference(open_to_all.push("library/debian", [image]))
    (tmp_path / "htpasswd").write_text(htpasswd("user", "s3cret"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with registry(tmp_path, tmp_path / "htpasswd") as guarded:
        with pytest.raises(UpstreamError, match="authentication required") as caught:
            fetch_image(pool, asked, "amd64", guarded.address, HASTY)
        assert "skopeo login" in caught.value.remedy
        login = tmp_path / "auth.json"
        login.write_text(json.dumps({"auths": {guarded.host: {"auth": "dXNlcjpzM2NyZXQ="}}}))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(login))
        fetch_image(pool, asked, "amd64", guarded.address, HASTY)
        monkeypatch.delenv("REGISTRY_AUTH_FILE")
        other = Pool(tmp_path / "other")
        address = guarded.address.replace("http://", "http://user:s3cret@")
        commands: list[str] = []
        real = subprocess.run
        monkeypatch.setattr(subprocess, "run", lambda words, **more: commands.extend(words) or real(words, **more))
        fetch_image(other, asked, "amd64", address, HASTY)
        assert commands
        assert not [word for word in commands if "s3cret" in word]
        with pytest.raises(UpstreamError) as caught:
            fetch_image(Pool(tmp_path / "third"), asked, "amd64", address.replace("s3cret", "wr0ng"), HASTY)
        assert "wr0ng" not in caught.value.message + caught.value.remedy
    kept = [path for path in Path(tmp_path).rglob("auth.json") if path != login]
    assert not kept
    assert os.environ.get("REGISTRY_AUTH_FILE") is None
