from __future__ import annotations

import msgspec
import pytest

from airlock.evidence.holdings import holdings
from airlock.evidence.query import parse_query
from airlock.evidence.record import Package, Served


def ask(records, text):
    return [(found.build, found.image, found.how) for found in holdings(records, parse_query(text))]


@pytest.mark.parametrize("text", ["libc6_2.36-9_amd64.deb", "libc6", "libc6=2.36-9", "a" * 64])
def test_a_deb_is_found_in_every_image_that_has_it_installed(records, text):
    one, two = records.make("b1"), records.make("b2", started="2024-06-01T00:00:00Z")
    expected = [(build, image, "installed") for build in ("b1", "b2") for image in ("base", "keystone")]
    assert ask([two, one], text) == expected


def test_a_finding_names_build_digest_version_and_file(records):
    record = records.make()
    found = holdings([record], parse_query("libc6"))[0]
    assert (found.digest, found.version) == (record.images[0].digest, "2.36-9")
    assert found.file == "libc6_2.36-9_amd64.deb"
    assert found.sha256 == records.sha["a"]


@pytest.mark.parametrize(
    "text", ["libc6=2.36-10", "libc6_2.36-9_arm64.deb", "f" * 64, "keystone-25.0.1.tar.gz", "libc"]
)
def test_what_is_not_there_is_not_found(records, text):
    assert ask([records.make()], text) == []


def test_a_source_archive_that_was_served_reaches_the_descendants(records):
    record = records.make()
    images = [msgspec.structs.replace(image, packages=[]) for image in record.images]
    record = msgspec.structs.replace(record, images=images)
    assert ask([record], "keystone-25.0.0.tar.gz") == [("b1", "base", "served"), ("b1", "keystone", "inherited")]
    assert ask([record], records.sha["e"]) == [("b1", "base", "served"), ("b1", "keystone", "inherited")]
    assert holdings([record], parse_query(records.sha["e"]))[1].source == "base"


def test_an_installed_package_is_told_before_a_served_file(records):
    assert ("b1", "keystone", "installed") in ask([records.make()], "keystone-25.0.0.tar.gz")


@pytest.mark.parametrize("letter", ["b", "d"])
def test_a_kept_wheel_is_found_by_its_own_and_by_its_sdists_sha256(records, letter):
    assert ask([records.make()], records.sha[letter]) == [("b1", "keystone", "wheel")]


@pytest.mark.parametrize("text", ["gssapi-1.8.3-cp311-cp311-linux_x86_64.whl", "gssapi-1.8.3.tar.gz", "gssapi"])
def test_a_kept_wheel_is_found_by_its_name_by_its_sdists_and_by_its_project(records, text):
    assert ask([records.make()], text) == [("b1", "keystone", "wheel")]


def test_a_package_of_the_same_version_from_another_file_is_not_the_one_of_that_sha256(records):
    record = records.make()
    other = [Package(kind="dpkg", name="libc6", version="2.36-9", arch="amd64", sha256=records.sha["f"])]
    record = records.with_image(record, "keystone", packages=other)
    found = ask([record], records.sha["a"])
    assert ("b1", "base", "installed") in found
    assert ("b1", "keystone", "installed") not in found


def test_an_index_is_not_a_file_that_an_image_holds(records):
    index = Served(
        path="/pypi/simple/keystone/index.html",
        sha256=records.sha["7"],
        size=1,
        origin="index",
        images=["base"],
        count=1,
    )
    record = records.make(served=[index])
    assert ask([record], records.sha["7"]) == []


def test_a_deb_that_was_removed_again_still_counts_as_served(records):
    record = records.with_image(records.make(), "base", packages=[])
    record = records.with_image(record, "keystone", packages=[])
    assert ask([record], "libc6") == [("b1", "base", "served"), ("b1", "keystone", "inherited")]


def test_parents_that_form_a_ring_do_not_hang(records):
    record = records.with_image(records.make(), "base", parent="keystone")
    assert ask([record], "libc6")
