"""What `make demo` promises, read from what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
AIRLOCK = ROOT / ".venv/bin/airlock"
IMAGES = {"base", "openstack-base", "keystone-base", "keystone", "keystone-fernet", "keystone-ssh"}


def test_every_image_was_built_and_keystone_runs(record: dict[str, Any]) -> None:
    assert record["state"] == "success"
    assert {image["name"] for image in record["images"]} == IMAGES
    keystone = next(image for image in record["images"] if image["name"] == "keystone")
    (check,) = keystone["checks"]
    assert check["command"] == ["keystone-manage", "--version"]
    assert check["output"].strip().splitlines()[-1].startswith("25.")


def test_every_image_was_built_from_the_folder_that_was_locked(record: dict[str, Any], bundle: Path) -> None:
    lines = map(json.loads, (bundle / "airlock.lock").read_text().splitlines())
    locked = {line["name"]: line["sealed"] for line in lines if line["type"] == "image"}
    assert {image["name"]: image["sealed"] for image in record["images"]} == locked


def test_every_file_served_is_in_the_bundle_or_was_built_from_it(record: dict[str, Any], bundle: Path) -> None:
    content = {json.loads(line)["sha256"] for line in (bundle / "CONTENT.jsonl").read_text().splitlines()}
    wheels = {wheel["sha256"] for wheel in record["wheels"]}
    assert record["served"]
    for served in record["served"]:
        assert served["origin"] in ("bundle", "index", "wheel"), served
        if served["origin"] == "bundle":
            assert served["sha256"] in content, served
        elif served["origin"] == "wheel":
            assert served["sha256"] in wheels, served


def test_nothing_of_the_builds_own_left_the_room_and_the_canary_was_counted(record: dict[str, Any]) -> None:
    network = record["network"]
    assert network["refused_packets"] == 0
    assert network["refused"] == []
    assert network["refused_names"] == []
    assert network["canary_packets"] >= 4
    assert {attempt["seen"] for attempt in network["canary"]} >= {"nft", "dns", "seccomp"}


def test_the_record_names_the_bundle_by_its_content_digest(record: dict[str, Any], bundle: Path) -> None:
    manifest = json.loads((bundle / "MANIFEST.json").read_text())
    digest = hashlib.sha256((bundle / "CONTENT.jsonl").read_bytes()).hexdigest()
    assert record["bundle"]["digest"] == manifest["content_digest"] == digest
    assert record["bundle"]["id"] == manifest["id"] == bundle.name


def test_the_registry_keeps_the_images_under_the_digests_of_the_record(demo: Path, record: dict[str, Any]) -> None:
    repositories = demo / "site/registry/docker/registry/v2/repositories/kolla"
    for image in record["images"]:
        link = repositories / image["name"] / "_manifests/tags" / record["bundle"]["id"] / "current/link"
        assert link.read_text() == image["digest"]


def test_coreutils_alone_find_the_bundle_whole(bundle: Path) -> None:
    result = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    named = {line.split("  ", 1)[1] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    there = {str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file()}
    assert there - named == {"SHA256SUMS"}


def test_lock_and_refresh_went_through_a_firewall_window_whose_records_ride_in_the_bundle(
    demo: Path, bundle: Path
) -> None:
    places = sorted((bundle / "evidence/windows").glob("*.json"))
    records = [json.loads(path.read_text()) for path in places]
    assert {record["verb"] for record in records} == {"lock", "refresh"}
    named = (bundle / "SHA256SUMS").read_text()
    for path, record in zip(places, records, strict=True):
        assert record["backend"] in ("nftables", "squid")
        assert record["state"] == "closed"
        assert record["hosts"]
        assert not record["refused_names"], "the demo's settings name too little"
        assert {proof["when"] for proof in record["proof"]} == {"open", "closed"}
        assert all(proof["held"] for proof in record["proof"])
        assert path.relative_to(bundle).as_posix() in named
    assert any(contact["received"] for record in records for contact in record["contacts"])
    command = [AIRLOCK, "audit", "--site", demo / "site", "--windows", bundle.name, "--json"]
    audit = subprocess.run(command, capture_output=True, check=False)
    assert audit.returncode == 0, audit.stderr
    assert records[0]["id"].encode() in audit.stdout


@pytest.mark.parametrize("environment", ["factory", "site"])
def test_the_ledgers_hold(demo: Path, environment: str) -> None:
    place = demo / environment
    result = subprocess.run([AIRLOCK, "audit", f"--{environment}", place, "--json"], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_audit_finds_the_images_that_hold_a_package(demo: Path) -> None:
    command = [AIRLOCK, "audit", "--site", demo / "site", "--holds", "libkrb5-dev", "--json"]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert b"keystone" in result.stdout


def test_the_factory_proves_its_bundle_complete_and_names_what_is_taken_away(demo: Path, tmp_path: Path) -> None:
    factory, definition = demo / "factory", demo / "factory/definition"
    whole = subprocess.run(
        [AIRLOCK, "validate", "--factory", factory, definition], capture_output=True, text=True, check=False
    )
    assert whole.returncode == 0, whole.stderr
    lines = (definition / "airlock.lock").read_text().splitlines()
    victim = next(
        line for line in map(json.loads, lines) if line["type"] == "artifact" and line["name"] == "libkrb5-dev"
    )
    place = factory / "pool" / victim["sha256"][:2] / victim["sha256"]
    aside = tmp_path / "aside"
    place.rename(aside)
    try:
        command = [AIRLOCK, "validate", "--factory", factory, definition, "--json"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        aside.rename(place)
    assert result.returncode == 9
    assert victim["id"] in result.stdout + result.stderr
    assert "image keystone (x86_64), line 13" in result.stdout + result.stderr


def test_the_lock_solved_again_offline_has_the_same_bytes(demo: Path) -> None:
    command = [AIRLOCK, "lock", "--factory", demo / "factory", "--check", demo / "factory/definition"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
