"""Source lists in both formats: what is read, what is refused, what an upstream is called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import FormatError
from airlock.kolla.apt_sources import AptSource, parse_deb822, parse_sources_list

KEY = "Signed-By: /etc/kolla/apt-keys/x.asc\n"
STANZA = f"Types: deb\nUris: http://mirror.example.org/x/\nSuites: stable\nComponents: main\n{KEY}"
PATH = "/etc/apt/sources.list.d/erlang-26.sources"


def test_a_source_is_called_like_its_file() -> None:
    (found,) = parse_deb822(STANZA, PATH)
    place = "http://mirror.example.org/x"
    assert found == AptSource("erlang-26", place, "stable", ("main",), (), "/etc/kolla/apt-keys/x.asc")
    assert found.sealed_line == "deb [trusted=yes] http://mirror.airlock.internal/apt/erlang-26 stable main"
    assert found.place("main") == "stable/main"


def test_a_flat_repository_has_no_component() -> None:
    text = STANZA.replace("stable", "./").replace("Components: main", "Components: ")
    (found,) = parse_deb822(text, PATH)
    assert (found.suite, found.components, found.place(""), found.words) == ("/", (), "/", "/")


def test_several_suites_and_addresses_comments_and_continued_lines() -> None:
    text = STANZA.replace("Suites: stable", "# none\nSuites: a\n b").replace("x/\n", "x http://mirror.example.org/y\n")
    found = parse_deb822(f"{text}Architectures: amd64\n\n\n{STANZA}Enabled: no\n", PATH)
    assert [(one.address[-1], one.suite, one.arches) for one in found] == [
        ("x", "a", ("amd64",)), ("x", "b", ("amd64",)), ("y", "a", ("amd64",)), ("y", "b", ("amd64",)),
    ]  # fmt: skip
    assert parse_deb822(STANZA.replace("Types: deb", "Types: deb-src"), PATH) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STANZA + "Trusted: yes\n", "'trusted' of a source is not known"),
        (STANZA + "Inrelease-Path: x\n", "is not known"),
        (STANZA.replace(KEY, ""), "without the file of its key"),
        (STANZA.replace(KEY, "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n"), "without the file of its key"),
        (STANZA.replace("main", ""), "without suite or components"),
        (STANZA.replace("stable", ""), "without suite or components"),
        (STANZA.replace("stable", "./"), "a flat one with components"),
        (STANZA + "Types: deb\n", "not a source"),
        ("deb http://mirror.example.org/x stable main\n", "not known"),
        ("nonsense\n", "not a source"),
    ],
)
def test_what_could_mean_anything_to_apt_is_refused(text: str, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        parse_deb822(text, PATH)
    assert PATH in caught.value.message


@given(st.text(alphabet=st.sampled_from("Types: deb\nUrisSuites#./[]=\t\r\x00ä"), max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_deb822, parse_sources_list):
        try:
            found = parse(text, PATH)
        except FormatError:
            continue
        assert all(one.suite and one.address for one in found)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("http://mirror.example.org/debian-security bookworm-security main", "debian-security"),
        ("http://ports.example.org/ jammy main", "ports-example-org"),
        ("mirror://mirrors.example.org/mirrors.txt jammy main", "example"),
        ("mirror+https://mirrors.example.org/a/mirrors.txt jammy main", "example"),
        ("http://cloud.archive.example.org/ubuntu jammy-updates/caracal main", "cloud"),
    ],
)
def test_an_upstream_has_the_same_name_on_every_architecture(line: str, name: str) -> None:
    (found,) = parse_sources_list(f"deb {line}\n")
    assert found.upstream == name
