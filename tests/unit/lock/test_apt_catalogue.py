"""What a package is called in the lock, and where it may come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.core.errors import IntegrityError
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_catalogue import Catalogue
from airlock.lock.apt_root import Target

SHA = "ab" * 32
ARCHIVE, PORTS = (
    AptSource(name, f"http://mirror.example.org/{name}", "jammy", ("main",)) for name in ("ubuntu", "ports")
)


def target(folder: Path, source: AptSource, filename: str = "pool/x_1_all.deb") -> Target:
    place = folder / source.upstream
    place.mkdir()
    (place / "Release").write_text("Codename: jammy\n")
    text = f"Package: x\nVersion: 1\nArchitecture: all\nFilename: {filename}\nSize: 1\nSHA256: {SHA}\n"
    (place / "Packages").write_text(text)
    return Target(source, "main", place / "Packages", place / "Release")


def test_one_file_of_two_upstreams_is_an_artifact_of_each(tmp_path: Path) -> None:
    first = Catalogue([target(tmp_path, ARCHIVE)]).find("x", "1", "all", [ARCHIVE]).artifact
    locked = {(first.sha256, first.upstream): first.id}
    second = Catalogue([target(tmp_path, PORTS)], locked).find("x", "1", "all", [PORTS]).artifact
    assert (first.id, second.id) == ("deb/x_1_all.deb", "deb/x_1_all.deb@ports")
    assert first.sha256 == second.sha256
    both = locked | {(second.sha256, second.upstream): second.id}
    held = Target(PORTS, "main", tmp_path / "ports/Packages", tmp_path / "ports/Release")
    assert Catalogue([held], both).find("x", "1", "all", [PORTS]).artifact == second


def test_a_package_is_taken_from_a_source_in_force_alone(tmp_path: Path) -> None:
    catalogue = Catalogue([target(tmp_path, ARCHIVE), target(tmp_path, PORTS)])
    assert catalogue.find("x", "1", "all", [PORTS]).artifact.upstream == "ports"
    with pytest.raises(IntegrityError, match="which no index lists"):
        catalogue.find("x", "1", "all", [])
    assert catalogue.offering("x") == {"ubuntu", "ports"}
    assert catalogue.offering("y") == set()


def test_a_place_relative_to_a_flat_repository_is_followed_and_no_other(tmp_path: Path) -> None:
    catalogue = Catalogue([target(tmp_path, ARCHIVE, "./x_1_all.deb"), target(tmp_path, PORTS, "../x_1_all.deb")])
    with pytest.raises(IntegrityError, match="ports jammy/main lists x 1 at an unsafe path"):
        catalogue.find("x", "1", "all", [ARCHIVE])
    held = Catalogue([Target(ARCHIVE, "main", tmp_path / "ubuntu/Packages", tmp_path / "ubuntu/Release")])
    assert held.find("x", "1", "all", [ARCHIVE]).artifact.path == "x_1_all.deb"
