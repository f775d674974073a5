"""Small build records, shared by the tests of compare and audit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from airlock.evidence.record import FORMAT, BuiltImage, BundleRef, Network, Package, Record, Served, Trigger, UsedWheel

SHA = {letter: letter * 64 for letter in "0123456789abcdef"}


def make_image(name: str, parent: str, layers: list[str], **changes: Any) -> BuiltImage:
    values: dict[str, Any] = {
        "name": name,
        "digest": "sha256:" + (name.encode().hex() * 64)[:64],
        "id": "sha256:" + (name.encode().hex()[::-1] * 64)[:64],
        "reference": f"registry.example.org/kolla/{name}:r1",
        "parent": parent,
        "timestamp": 1700000000,
        "sealed": SHA["5"],
        "diff_ids": layers,
        "packages": [Package(kind="dpkg", name="libc6", version="2.36-9", arch="amd64", sha256=SHA["a"])],
        "seconds": 1.0,
        "log": f"logs/{name}.log",
    }
    return BuiltImage(**(values | changes))


def make_record(build_id: str = "b1", **changes: Any) -> Record:
    base = make_image("base", "sha256:" + SHA["9"], ["sha256:l0", "sha256:l1"])
    packages = [*base.packages, Package(kind="pip", name="keystone", version="25.0.0")]
    keystone = make_image("keystone", "base", [*base.diff_ids, "sha256:l2"], packages=packages)
    values: dict[str, Any] = {
        "format": FORMAT,
        "build_id": build_id,
        "state": "success",
        "error": "",
        "trigger": Trigger(user="ada", host="builder", time="2024-05-01T10:00:00Z", reason="CVE-2024-0001"),
        "bundle": BundleRef(id="2024.1-r1", digest=SHA["1"], manifest=SHA["2"], lock=SHA["3"], definition=SHA["4"]),
        "kolla": {"version": "18.8.0"},
        "git": {},
        "engine": {"podman": "4.3.1", "driver": "overlay"},
        "started": "2024-05-01T10:00:01Z",
        "ended": "2024-05-01T10:05:00Z",
        "stages": {"prove": 1.0, "build": 200.0},
        "images": [base, keystone],
        "wheels": [
            UsedWheel(
                file="gssapi-1.8.3-cp311-cp311-linux_x86_64.whl",
                sha256=SHA["b"],
                key=SHA["c"],
                sdist=SHA["d"],
                build="b0",
                image="keystone",
            )
        ],
        "network": Network(
            room="netns",
            cannot_prove=[],
            refused_packets=0,
            refused=[],
            refused_names=[],
            expected_names=[],
            refused_sockets=[],
            missing=[],
            canary_packets=9,
            canary=[],
        ),
        "served": [
            Served(
                path=f"/pool/aa/{SHA['a']}/libc6_2.36-9_amd64.deb",
                sha256=SHA["a"],
                size=10,
                origin="bundle",
                images=["base"],
                count=1,
            ),
            Served(
                path=f"/pool/ee/{SHA['e']}/keystone-25.0.0.tar.gz",
                sha256=SHA["e"],
                size=10,
                origin="bundle",
                images=["base"],
                count=1,
            ),
        ],
    }
    return Record(**(values | changes))


def with_image(original: Record, name: str, **changes: Any) -> Record:
    """``original`` with one image changed."""
    images = [msgspec.structs.replace(one, **changes) if one.name == name else one for one in original.images]
    return msgspec.structs.replace(original, images=images)


@pytest.fixture
def records() -> SimpleNamespace:
    """``make`` a record, ``image`` an image, ``with_image`` changes one image of a record, ``sha`` are digests."""
    return SimpleNamespace(make=make_record, image=make_image, with_image=with_image, sha=SHA)
