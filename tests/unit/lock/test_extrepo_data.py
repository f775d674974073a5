"""extrepo's configuration and index are read as extrepo reads them; what it refuses is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apt_upstream import Keys, keys

from airlock.core.errors import AirlockError, FormatError, IntegrityError, ResolutionError
from airlock.kolla.apt_sources import parse_deb822
from airlock.lock.extrepo_data import Config, Entry, read_config, read_entry, source_text, verify_index

CONFIG = Config("https://mirror.example.org/data", "debian", "bookworm", ["main"])
KEYRING = "/var/lib/extrepo/keys/a.asc"
INDEX = b"""\
---
a:
  description: a repository
  gpg-key-checksum:
    sha256: %s
  gpg-key-file: a.asc
  policy: main
  source:
    Architectures: amd64 arm64
    Components: main
    Suites: 1.10
    Types: deb deb-src
    URIs: http://mirror.example.org/a
b:
  gpg-key-checksum: {sha1: 00}
  gpg-key-file: b.asc
  policies: {main: main, more: contrib, rest: non-free, extra: main}
  source: {Components: <COMPONENTS>, Suites: stable, Types: deb, URIs: "http://mirror.example.org/b"}
""" % (b"ab" * 32)


def entry(name: str) -> Entry:
    return read_entry(INDEX, name, "index.yaml")


def test_the_configuration_of_the_package_says_where_its_data_are() -> None:
    where = b"---\nurl: https://mirror.example.org/data\ndist: debian\nversion: bookworm\n"
    config = read_config(where + b"enabled_policies:\n- main\n# - contrib\n", "config.yaml")
    assert config == CONFIG
    assert config.path("index.yaml") == "debian/bookworm/index.yaml"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"url: [", "is no YAML"),
        (b"url: file:///usr/share\ndist: debian\nversion: bookworm", "neither http nor https"),
        (b"dist: debian\nversion: bookworm", "is not understood"),
        (b"url: http://mirror.example.org\ndist: ../x\nversion: bookworm", "no distribution and version"),
        (b"- a", "is not understood"),
    ],
)
def test_a_configuration_that_says_something_else_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        read_config(data, "config.yaml")


def test_the_source_has_every_field_and_the_key_that_extrepo_stores() -> None:
    text = source_text("a", entry("a"), CONFIG, KEYRING)
    assert text == (
        "Types: deb deb-src\nURIs: http://mirror.example.org/a\nSuites: 1.10\nComponents: main\n"
        f"Architectures: amd64 arm64\nSigned-By: {KEYRING}\n"
    )
    (source,) = parse_deb822(text, "/etc/apt/sources.list.d/extrepo_a.sources")
    assert (source.upstream, source.suite, source.arches) == ("a", "1.10", ("amd64", "arm64"))


@pytest.mark.parametrize(
    ("enabled", "components"),
    [(["main"], "extra main"), (["main", "contrib"], "extra main more"), (["non-free"], "rest")],
)
def test_the_components_are_those_whose_policy_is_enabled(enabled: list[str], components: str) -> None:
    config = Config(CONFIG.url, CONFIG.dist, CONFIG.version, enabled)
    assert f"\nComponents: {components}\n" in source_text("b", entry("b"), config, KEYRING)


@pytest.mark.parametrize("policies", [{"policy": "contrib"}, {"policies": {"x": "non-free"}}, {"policies": {}}, {}])
def test_a_repository_whose_policy_is_not_enabled_is_refused_as_extrepo_refuses_it(policies: dict[str, object]) -> None:
    refused = Entry({"Types": "deb"}, "a.asc", {}, **policies)  # type: ignore[arg-type]
    with pytest.raises(ResolutionError, match="extrepo refuses to enable a") as caught:
        source_text("a", refused, CONFIG, KEYRING)
    assert "vendor_repositories" in caught.value.remedy


def test_a_name_that_the_index_does_not_know_is_refused() -> None:
    with pytest.raises(ResolutionError, match="knows no repository c") as caught:
        entry("c")
    assert "vendor_repositories" in caught.value.remedy


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"gpg-key-file: a.asc", b"gpg-key-file: ../a.asc"), (b"source:\n", b"sourcery:\n"), (b"a:\n", b"a: 1\nc:\n")],
)
def test_a_malformed_entry_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(FormatError):
        read_entry(INDEX.replace(old, new, 1), "a", "index.yaml")


@pytest.mark.parametrize(
    "source", [{"Types": "deb\nTrusted: yes"}, {"Types:x": "deb"}, {"Types": "deb\tx"}, {"A b": "c"}, {"": "deb"}]
)
def test_a_field_that_would_be_more_than_one_line_is_refused(source: dict[str, str]) -> None:
    with pytest.raises(FormatError, match="has the field"):
        source_text("a", Entry(source, "a.asc", {}, "main"), CONFIG, KEYRING)


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=30), max_size=6))
def test_whatever_an_entry_says_its_source_names_the_own_key_and_no_other(source: dict[str, str]) -> None:
    try:
        text = source_text("a", Entry(source, "a.asc", {}, "main"), CONFIG, KEYRING)
    except FormatError:
        return
    lines = [line.partition(": ")[::2] for line in text.splitlines()]
    assert [value for field, value in lines if field.lower() == "signed-by"] == [KEYRING]
    assert len(lines) == len({field for field in source if field.lower() != "signed-by"}) + 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (lambda: read_config(data, "x"), lambda: read_entry(data, "a", "x")):
        with contextlib.suppress(AirlockError):
            read()


@pytest.fixture(scope="module")
def ring() -> Iterator[Keys]:
    with keys() as made:
        for name in ("extrepo", "stranger"):
            made.make(name)
        yield made


def test_an_index_counts_with_the_signature_of_extrepos_own_key(ring: Keys) -> None:
    keyring = ring.public("extrepo", armored=False)
    verify_index(INDEX, ring.detach("extrepo", INDEX), keyring, "index.yaml")


Harm = Callable[[Keys], tuple[bytes, bytes]]


@pytest.mark.parametrize(
    "harm",
    [
        lambda ring: (INDEX, b""),
        lambda ring: (INDEX, b"<html>not here</html>"),
        lambda ring: (INDEX, ring.detach("stranger", INDEX)),
        lambda ring: (INDEX.replace(b"1.10", b"1.11"), ring.detach("extrepo", INDEX)),
        lambda ring: (INDEX, ring.detach("extrepo", b"")),
        lambda ring: (INDEX, INDEX),
    ],
)
def test_an_index_that_extrepos_key_does_not_vouch_for_is_refused(ring: Keys, harm: Harm) -> None:
    index, signature = harm(ring)
    keyring = ring.public("extrepo", armored=False)
    with pytest.raises(
        IntegrityError, match=r"index\.yaml is not signed by a key of /etc/extrepo/keyring\.gpg"
    ) as caught:
        verify_index(index, signature, keyring, "index.yaml")
    assert "--update extrepo" in caught.value.remedy


def test_a_revoked_key_does_not_count(ring: Keys, tmp_path: Path) -> None:
    ring.make("revoked")
    signature = ring.detach("revoked", INDEX)
    certificate = ring.home / "openpgp-revocs.d" / f"{ring.fingerprint('revoked')}.rev"
    ring.gpg("--import", data=certificate.read_bytes().replace(b":-----BEGIN", b"-----BEGIN"))
    with pytest.raises(IntegrityError):
        verify_index(INDEX, signature, ring.public("revoked", armored=False), "index.yaml")
