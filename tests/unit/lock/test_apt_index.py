"""Indexes of locked packages: a pure function that lists exactly what is locked."""

import hashlib
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_index import apt_indexes
from airlock.lock.apt_text import fields
from airlock.lock.model import Artifact

SOURCES = [
    AptSource("debian", "http://mirror.example.org/debian", "bookworm", ("main",)),
    AptSource("debian", "http://mirror.example.org/debian", "bookworm-backports", ("main", "contrib")),
]
RELEASES = {
    "debian/bookworm": {"Origin": "Debian", "Suite": "stable", "Codename": "bookworm", "Version": "12.1"},
    "debian/bookworm-backports": {"Suite": "backports", "NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"},
}  # fmt: skip
PLACES = ["bookworm/main", "bookworm-backports/main", "bookworm-backports/contrib"]


def deb(number: int, place: str, arch: str) -> Artifact:
    file = f"p{number}_1_{arch}.deb"
    return Artifact(
        id=f"deb/{file}", kind="deb", name=f"p{number}", version="1", arch=arch, file=file,
        sha256=hashlib.sha256(file.encode()).hexdigest(), size=number, upstream="debian", path=f"pool/p/{file}",
        trust="signed-index", suite=place,
    )  # fmt: skip


debs = st.lists(
    st.builds(deb, st.integers(0, 40), st.sampled_from(PLACES), st.sampled_from(["amd64", "all"])),
    max_size=20, unique_by=lambda found: found.name,
)  # fmt: skip


def stanza(found: Artifact) -> str:
    return (
        f"Package: {found.name}\nVersion: 1\nArchitecture: {found.arch}\nDepends: a | b\nFilename: {found.path}\n"
        f"Size: {found.size}\nSHA256: {found.sha256}\nDescription: ü\n"
    )


@given(debs, st.randoms())
def test_every_deb_is_listed_once_in_its_suite_whatever_the_order(found: list[Artifact], random: Random) -> None:
    stanzas = {one.id: stanza(one) for one in found}
    indexes = apt_indexes(found, stanzas, SOURCES, RELEASES, ["amd64"])
    shuffled = list(found)
    random.shuffle(shuffled)
    assert apt_indexes(shuffled, dict(reversed(stanzas.items())), SOURCES, RELEASES, ["amd64"]) == indexes
    for place in PLACES:
        suite, component = place.split("/")
        text = indexes[f"apt/debian/dists/{suite}/{component}/binary-amd64/Packages"].decode()
        listed = [fields(part) for part in text.split("\n\n") if part.strip()]
        wanted = {one.name: one for one in found if one.suite == place}
        assert sorted(values["package"] for values in listed) == sorted(wanted)
        for values in listed:
            one = wanted[values["package"]]
            assert values["filename"] == f"pool/{one.sha256[:2]}/{one.sha256}/{one.file}"
            assert (values["sha256"], values["depends"]) == (one.sha256, "a | b")


def test_release_lists_each_packages_file_by_hash_and_keeps_what_pins_look_at() -> None:
    indexes = apt_indexes([deb(1, PLACES[0], "amd64")], {"deb/p1_1_amd64.deb": stanza(deb(1, PLACES[0], "amd64"))},
                          SOURCES, RELEASES)  # fmt: skip
    release = indexes["apt/debian/dists/bookworm-backports/Release"].decode()
    values = fields(release)
    assert (values["notautomatic"], values["butautomaticupgrades"]) == ("yes", "yes")
    assert values["components"] == "main contrib"
    assert values["architectures"] == "amd64"
    for name in ("main", "contrib"):
        data = indexes[f"apt/debian/dists/bookworm-backports/{name}/binary-amd64/Packages"]
        assert f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}/binary-amd64/Packages\n" in release


def test_a_suite_of_which_nothing_is_locked_has_an_index() -> None:
    indexes = apt_indexes([], {}, SOURCES, RELEASES, ["amd64", "arm64"])
    assert indexes["apt/debian/dists/bookworm/main/binary-arm64/Packages"] == b""
    assert "apt/debian/dists/bookworm/Release" in indexes
