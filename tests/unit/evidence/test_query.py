from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import UsageError
from airlock.evidence.query import Identity, identify, parse_query, same_package

NAMES = st.from_regex(r"[a-z0-9][a-z0-9+.-]{1,12}", fullmatch=True)
DEB_VERSIONS = st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~]{0,8}(-[0-9a-z.+~]{1,4})?", fullmatch=True)


@pytest.mark.parametrize(
    ("file", "package"),
    [
        ("libc6_2.36-9+deb12u8_amd64.deb", Identity("dpkg", "libc6", "2.36-9+deb12u8", "amd64")),
        ("git_1%3a2.39.2-1.1_amd64.deb", Identity("dpkg", "git", "1:2.39.2-1.1", "amd64")),
        ("oslo.config-9.4.0-py3-none-any.whl", Identity("pip", "oslo-config", "9.4.0")),
        ("keystone-25.0.0.tar.gz", Identity("pip", "keystone", "25.0.0")),
        ("not-a-package.deb", None),
        ("a_b_c_d.deb", None),
        ("broken.whl", None),
        ("prometheus.tar.xz", None),
    ],
)
def test_a_file_name_tells_its_package(file, package):
    assert identify(file) == package


def test_a_sha256_is_understood_with_and_without_prefix_and_in_capitals():
    digest = "ab" * 32
    for text in (digest, "sha256:" + digest, digest.upper()):
        assert parse_query(text).sha256 == digest


def test_folders_before_a_file_name_do_not_matter():
    assert parse_query("/media/pool/libc6_2.36-9_amd64.deb").file == "libc6_2.36-9_amd64.deb"


@pytest.mark.parametrize("text", ["keystone=25.0.0", "keystone==25.0.0", " keystone = 25.0.0 "])
def test_a_package_may_carry_a_version(text):
    assert parse_query(text).package == Identity(name="keystone", version="25.0.0")


@pytest.mark.parametrize("text", ["", "  ", "=1.0"])
def test_an_empty_question_is_an_error(text):
    with pytest.raises(UsageError):
        parse_query(text)


@given(NAMES, DEB_VERSIONS, st.sampled_from(["amd64", "all"]))
def test_a_deb_is_found_under_both_ways_to_write_its_file_name(name, version, arch):
    installed = Identity("dpkg", name, version, arch)
    for written in (version.replace(":", "%3a"), version.split(":", 1)[-1]):
        found = identify(f"{name}_{written}_{arch}.deb")
        assert found is not None
        assert same_package(installed, found)


def test_two_different_epochs_are_two_packages():
    assert not same_package(Identity("dpkg", "git", "1:2.0"), Identity("dpkg", "git", "2:2.0"))


@pytest.mark.parametrize(
    ("have", "wanted", "same"),
    [
        (("pip", "oslo.config", "9.4.0"), ("", "Oslo_Config", "9.4"), True),
        (("pip", "oslo-config", "9.4.0"), ("", "oslo-config", "9.4.1"), False),
        (("pip", "odd", "not a version"), ("", "odd", "not a version"), True),
        (("dpkg", "libc6", "2.36-9"), ("", "libc6", ""), True),
        (("dpkg", "libc6", "2.36-9"), ("pip", "libc6", ""), False),
        (("dpkg", "libc6", "2.36-9"), ("", "libc6", "2.36-90"), False),
        (("dpkg", "python3-six", "1.16.0"), ("", "python3_six", ""), False),
    ],
)
def test_names_and_versions_are_compared_by_their_ecosystems_rules(have, wanted, same):
    assert same_package(Identity(*have), Identity(*wanted)) is same
