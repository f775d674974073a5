"""Addresses of servers in settings: what is one, and what a person is told of what is none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.addresses import server_address
from airlock.core.errors import UsageError

WHAT = "site.toml: address in [gerrit]"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://review.example.org/r/", "https://review.example.org/r"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_address_has_no_slash_at_its_end(text, meant):
    assert server_address(text, WHAT, "") == meant


@pytest.mark.parametrize(
    "text", ["", "review.example.org", "ftp://a", "http://", "http://a:0", "http://a:b", "http://a?b", "http://a#b"]
)
def test_what_is_none_is_told_with_file_key_and_remedy(text):
    with pytest.raises(UsageError, match="is no http") as raised:
        server_address(text, WHAT, "Write it so.")
    assert raised.value.message.startswith(WHAT)
    assert raised.value.remedy == "Write it so."


def test_a_password_in_one_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match="holds a user or password") as raised:
        server_address("https://me:s3cret@review.example.org", WHAT, "")
    assert "s3cret" not in raised.value.message


@given(st.text())
def test_any_text_is_an_address_or_an_error_for_a_person(text):
    with contextlib.suppress(UsageError):
        assert server_address(text, WHAT, "").lower().startswith(("http://", "https://"))
