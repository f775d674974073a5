"""The stand-in for extrepo, run: it writes where extrepo would, and its source leads to the mirror."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airlock.core.process import run
from airlock.kolla.apt_sources import MIRROR, parse_deb822
from airlock.kolla.extrepo import stand_in

SHA256 = "ab" * 32
PLACES = {name: (f"{MIRROR}/pool/ab/{SHA256}/{name}.asc", f"{MIRROR}/pool/ab/{SHA256}/x.sources") for name in "ab"}
SOURCE = (
    "Types: deb deb-src\nURIs: https://mirror.example.org/{name}\nSuites: one one-more\nComponents: main\n"
    "Architectures: amd64 arm64\nSigned-By: /var/lib/extrepo/keys/{name}.asc\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Folders that base has by then, and a helper of apt's that notes what it is asked for."""
    for folder in ("etc/apt/sources.list.d", "var/lib/apt/lists"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/lib/apt/lists/some").touch()
    (tmp_path / "key").write_bytes(b"\x99key")
    (tmp_path / "source").write_text(SOURCE.format(name="a"))
    helper = tmp_path / "apt-helper"
    helper.write_text(
        f'#!/bin/sh\necho "$5 $7" >>{tmp_path}/asked\ncp {tmp_path}/$(basename "$6") "$6"\n'  # -q -o SETTING verb …
    )
    helper.chmod(0o755)
    return tmp_path


def started(root: Path, *words: str, source: str = "") -> int:
    if source:
        (root / "source").write_text(source)
    program = stand_in(PLACES).decode().replace("/usr/lib/apt/apt-helper", str(root / "apt-helper"))
    program = re.sub(r"(?<=[\" ])/(etc|var)/", rf"{root}/\1/", program)
    return run(["sh", "-c", program, "extrepo", *words]).returncode


def test_key_and_source_are_where_extrepo_puts_them_and_checked_by_their_sha256(root: Path) -> None:
    assert started(root, "enable", "a") == 0
    assert (root / "asked").read_text().splitlines() == [f"{place} SHA256:{SHA256}" for place in PLACES["a"]]
    assert (root / "var/lib/extrepo/keys/a.asc").read_bytes() == b"\x99key"
    lines = (root / "etc/apt/sources.list.d/extrepo_a.sources").read_text().splitlines()
    assert lines == [
        "Types: deb", "URIs: http://mirror.airlock.internal/apt/a", "Suites: one one-more", "Components: main",
        "Architectures: amd64 arm64", "Signed-By: /var/lib/extrepo/keys/a.asc", "Trusted: yes",
    ]  # fmt: skip
    assert not list((root / "var/lib/apt/lists").iterdir())
    assert not list((root / "etc/apt/sources.list.d").glob("*b*"))


@pytest.mark.parametrize("suite", ["./", " ./", "stable/"])
def test_a_flat_repository_is_where_the_rooms_index_has_it(root: Path, suite: str) -> None:
    flat = f"Types: deb\nURIs: http://mirror.example.org/a\nSuites: {suite}\nSigned-By: /a.asc\n"
    assert started(root, "enable", "a", source=flat) == 0
    text = (root / "etc/apt/sources.list.d/extrepo_a.sources").read_text()
    (known,) = parse_deb822(flat, "/etc/apt/sources.list.d/extrepo_a.sources")
    assert f"Suites: {known.suite}\n" in text.replace("Suites:  ", "Suites: ")


def test_another_repository_is_not_enabled_and_the_lists_are_removed_all_the_same(root: Path) -> None:
    assert started(root, "enable", "c") == 0
    assert not list((root / "etc/apt/sources.list.d").iterdir())
    assert not list((root / "var/lib/apt/lists").iterdir())


def test_a_file_that_cannot_be_had_fails_the_build(root: Path) -> None:
    (root / "key").unlink()
    assert started(root, "enable", "a") != 0
    assert not list((root / "etc/apt/sources.list.d").iterdir())
