"""Versions and ranges of gems, as RubyGems reads them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.lock.gem_index import parse_page
from airlock.lock.gem_versions import GemVersion, asks_for_prerelease, fits_platform, parse_requirements, satisfied

# Each below the next (documentation of Gem::Version).
ORDER = ["0", "0.9", "1.0.a.9", "1.0.a10", "1.0.b1", "1.0.rc.1", "1.0", "1.0.1", "1.9", "1.10", "2.0.0.pre", "2", "10"]
versions = st.lists(st.integers(0, 20), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


def test_versions_are_ordered_as_rubygems_orders_them():
    for one, other in itertools.combinations(ORDER, 2):
        assert GemVersion(one) < GemVersion(other), (one, other)
    assert GemVersion("1.0") == GemVersion("1") == GemVersion("1.0.0")
    assert GemVersion("1.0-rc1") == GemVersion("1.0.pre.rc1")
    assert [one for one in ORDER if GemVersion(one).prerelease] == [*ORDER[2:6], "2.0.0.pre"]


@pytest.mark.parametrize(
    ("wanted", "within", "outside"),
    [
        ("~> 1.2", "1.9", "2.0"),
        ("~> 1.2", "1.2", "1.1"),
        ("~> 1.2.3", "1.2.10", "1.3"),
        ("~> 2", "2.9.1", "3"),
        ("~> 1.2", "1.2.1", "2.0.a"),
        ("1.2", "1.2.0", "1.2.1"),
        ("!= 1.2", "1.3", "1.2.0"),
        (">1.2", "1.2.1", "1.2"),
        ("<= 1.2", "1.2", "1.2.1"),
    ],
)
def test_a_range_is_read_as_rubygems_reads_it(wanted, within, outside):
    bounds = parse_requirements([wanted])
    assert satisfied(bounds, GemVersion(within))
    assert not satisfied(bounds, GemVersion(outside))


def test_a_pre_release_is_asked_for_by_naming_one():
    assert asks_for_prerelease(parse_requirements([">= 1.0.a"]))
    assert not asks_for_prerelease(parse_requirements([">= 1.0"]))


@pytest.mark.parametrize("text", ["", "a", "1..2", "1.0/..", "1.0 ", "1\n", "=> 1", "1" * 300])
def test_what_is_no_version_or_range_is_refused(text):
    with pytest.raises(ValueError, match=r"no version|no range"):
        GemVersion(text)
    if text != "1\n":
        with pytest.raises(ValueError, match=r"no version|no range"):
            parse_requirements([text.strip(" ") + "/" * text.endswith(" ")])


@given(versions, versions)
def test_every_sign_agrees_with_the_order(one, other):
    first, second = GemVersion(one), GemVersion(other)
    assert satisfied(((">=", other),), first) is (first >= second)
    assert satisfied((("=", other),), first) is (first == second)
    assert satisfied((("~>", other),), first) is (second <= first < second.bump())


@given(st.text(max_size=40))
def test_whatever_comes_is_a_version_or_refused(text):
    try:
        assert GemVersion(text) == GemVersion(text)
    except ValueError:
        return


def test_a_page_has_versions_by_platform_with_what_they_need():
    digest = "0" * 64
    page = f"---\n1.0 b:>= 1&< 3,c:~> 2|checksum:{digest},ruby:>= 2.5&< 4,rubygems:>= 3\n"
    page += f"1.0-x86_64-linux |checksum:{digest}\n"
    plain, native = parse_page("a", page.encode())
    assert plain.dependencies == {"b": ((">=", "1"), ("<", "3")), "c": (("~>", "2"),)}
    assert (plain.ruby, plain.rubygems) == (((">=", "2.5"), ("<", "4")), ((">=", "3"),))
    assert (plain.full_name, native.full_name) == ("a-1.0", "a-1.0-x86_64-linux")
    assert parse_page("a", f"---\n{plain.line}\n".encode()) == [plain], "what the room serves reads the same"
    fits = [
        one
        for one in ("ruby", "x86_64-linux", "x86_64-linux-gnu", "java", "aarch64-linux", "x86_64-linux-musl")
        if fits_platform(one, "x86_64")
    ]
    assert fits == ["ruby", "x86_64-linux", "x86_64-linux-gnu"]
