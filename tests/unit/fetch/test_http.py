"""Addresses and pauses."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.fetch import http
from airlock.fetch.http import LONGEST_PAUSE, below, pause, request_url, shown, with_credentials

paths = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="?/"), min_size=1, max_size=40)


@given(paths)
def test_a_path_reaches_the_upstream_as_it_is(path):
    url = below("http://mirror.example.org/debian/", path)
    assert unquote(urlsplit(url).path) == "/debian/" + path
    assert str(request_url(url)) == url


def test_debians_names_are_sent_as_debians_tools_send_them():
    assert below("http://x/debian", "pool/libstdc++6_1:2~3.deb") == "http://x/debian/pool/libstdc++6_1:2~3.deb"
    assert below("http://x/a", "b?c=d%20e") == "http://x/a/b?c=d%20e"


@given(st.from_regex(r"[a-z0-9]{8,12}", fullmatch=True), st.from_regex(r"[a-z0-9]{8,12}", fullmatch=True))
def test_secrets_in_an_address_are_not_shown(user, password):
    text = shown(f"https://{user}:{password}@mirror.example.org:8443/simple?token={password}")
    assert text == "https://mirror.example.org:8443/simple"


def test_credentials_go_to_the_index_own_host_alone():
    address = "https://u:p@mirror.example.org/simple"
    assert with_credentials("https://mirror.example.org/f.whl", address) == "https://u:p@mirror.example.org/f.whl"
    for other in (
        "https://files.example.org/f.whl",
        "http://mirror.example.org/f.whl",
        "https://mirror.example.org:1/f",
    ):
        assert with_credentials(other, address) == other
    assert (
        with_credentials("https://mirror.example.org/f", "https://mirror.example.org/s")
        == "https://mirror.example.org/f"
    )


@pytest.mark.parametrize("attempt", range(0, 40, 3))
def test_pauses_grow_are_jittered_and_bounded(attempt):
    found = {pause(attempt) for _ in range(50)}
    middle = min(http.FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
    assert len(found) > 1
    assert all(middle / 2 <= one <= middle * 1.5 for one in found)
