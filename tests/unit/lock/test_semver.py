"""Semantic versions and ranges, as ansible-galaxy reads them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.lock.semver import is_pinned, is_prerelease, meets, version_key

# semver.org, 11: in this order.
ORDER = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
         "1.0.0-rc.1", "1.0.0", "1.0.1", "1.9.0", "1.10.0", "2.0.0"]  # fmt: skip
numbers = st.integers(0, 30)
versions = st.builds("{}.{}.{}".format, numbers, numbers, numbers)


def test_precedence_is_that_of_the_specification():
    for one, other in itertools.combinations(ORDER, 2):
        assert version_key(one) < version_key(other), (one, other)
    assert version_key("1.0.0+a") == version_key("1.0.0+b")
    assert [one for one in ORDER if is_prerelease(one)] == ORDER[:7]


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "v1.0.0", "1.0.0/..", "1.0.0\n", "1" * 200]
)
def test_what_is_no_version_is_refused(text):
    with pytest.raises(ValueError, match="no semantic version"):
        version_key(text)


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.9.0", "<2", True),
        ("2.0.0", "<2", False),
        ("2.0.0-rc.1", "<2", True),
        ("2.5.1", ">=2.0.0,<3.0.0", True),
        ("3.0.0", ">=2.0.0,<3.0.0", False),
        ("1.2.0", "1.2", True),
        ("1.2.0", "==1.2", True),
        ("1.2.0", "=1.2", True),
        ("1.2.3", "!=1.2.3", False),
        ("1.2.3", "*", True),
        ("1.2.3", ">=*", True),
        ("1.2.3", "1.2.3.4", True),
    ],
)
def test_a_range_is_read_as_ansible_galaxy_reads_it(version, wanted, fits):
    assert meets(version, wanted) is fits


@pytest.mark.parametrize("wanted", ["", "newest", ">=1.0, <2", "~=1.0", "^1", ">=1.a", "1." * 200, ">="])
def test_what_is_no_range_is_refused(wanted):
    with pytest.raises(ValueError, match=r"no range of versions|no semantic version"):
        meets("1.0.0", wanted)


@given(versions, versions)
def test_every_sign_agrees_with_the_order(one, other):
    first, second = version_key(one), version_key(other)
    assert meets(one, f"<{other}") is (first < second)
    assert meets(one, f">={other}") is (first >= second)
    assert meets(one, f"!={other}") is (first != second)
    assert meets(one, f">={other},<={other}") is meets(one, other)


@given(st.text())
def test_whatever_comes_is_a_version_or_refused(text):
    for read in (version_key, lambda wanted: meets("1.0.0", wanted)):
        try:
            read(text)
        except ValueError:
            continue


def test_a_pin_names_one_version():
    assert [is_pinned(one) for one in ("1.0.0", "==1.0.0", "=1", "*", "<2", ">=1,<2", "!=1")] == [True] * 3 + [
        False
    ] * 4
