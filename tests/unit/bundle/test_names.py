"""Names that any media and any receiver can take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.bundle.names import check_component, check_path, check_unique, content_path, extension, fold
from airlock.core.errors import IntegrityError


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("libc6_2.36-9+deb12u8_amd64.deb", ".deb"),
        ("keystone-25.0.0.tar.gz", ".tar.gz"),
        ("keystone-25.0.0.tar.xz", ".tar.xz"),
        ("requests-2.31.0-py3-none-any.whl", ".whl"),
        ("kolla.bundle", ".bundle"),
        ("name-1.2", ""),
        ("name", ""),
        ("archive.ZIP", ".ZIP"),
    ],
)
def test_the_real_extension_is_kept(file: str, expected: str) -> None:
    assert extension(file) == expected
    assert content_path("ab" * 32, file) == f"pool/ab/{'ab' * 32}{expected}"


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "..", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", "a\x00b", "a:b", "a*", "a?b",
        'a"b', "a<b", "a|b", "dot.", "space ", "-", "-x", "a.part", "a.PART", "x" * 241, "/".join("a" * 600),
        "/".join(["d"] * 17), "a\udcff",
    ],
)  # fmt: skip
def test_unsafe_names_are_refused(name: str) -> None:
    with pytest.raises(IntegrityError, match="unsafe path"):
        check_path(name)


@pytest.mark.parametrize("name", ["a", "definition/release.toml", "lib~1+b_amd64.deb", "é/ü.txt", "a b/c", "x" * 240])
def test_ordinary_names_are_taken(name: str) -> None:
    assert check_path(name) == name


def test_a_component_has_no_folder() -> None:
    with pytest.raises(IntegrityError):
        check_component("a/b")


@pytest.mark.parametrize("pair", [("a/x", "A/X"), ("a", "a/b"), ("A", "a/b"), ("é", "e\u0301"), ("straße", "STRASSE")])
def test_names_that_clash_on_other_file_systems_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(IntegrityError):
        check_unique(pair)


@given(st.lists(st.lists(st.text(alphabet="aAbBé", min_size=1, max_size=2), min_size=1).map("/".join), max_size=8))
def test_what_passes_lies_apart_on_a_case_insensitive_disk(names: list[str]) -> None:
    try:
        check_unique(names)
    except IntegrityError:
        return
    folded = [fold(name) for name in names]
    assert len(set(folded)) == len(names)
    assert not any(left != right and right.startswith(left + "/") for left in folded for right in folded)
