"""Requests and redirects are checked against the window's names before they are made."""

from __future__ import annotations

import pytest

from airlock.core.errors import WindowError
from airlock.core.settings import FetchTable
from airlock.fetch.named import Named, through


@pytest.fixture
def named() -> Named:
    made = Named()
    made.become(frozenset({("a.example.org", 443), ("b.example.org", 80)}), {"debian": "https://a.example.org/debian"})
    return made


def test_named_hosts_and_loopback_pass(named):
    for url in (
        "https://a.example.org/x",
        "http://b.example.org/",
        "http://127.0.0.1:8081/x",
        "https://A.example.org./",
    ):
        named.check(url)
    named.check_redirect("https://a.example.org/x", "/y")


@pytest.mark.parametrize(
    "url", ["https://c.example.org/", "http://a.example.org/", "https://a.example.org:444/", "https://192.0.2.1/"]
)
def test_others_do_not(named, url):
    with pytest.raises(WindowError, match="does not name"):
        named.check(url)


def test_a_redirect_names_the_line_to_add(named):
    with pytest.raises(WindowError) as caught:
        named.check_redirect("https://a.example.org/x", "https://user:secret@c.example.org/y?token=1")
    assert "redirects to c.example.org:443" in caught.value.message
    assert '[upstreams.debian] hosts = ["c.example.org"]' in caught.value.remedy
    assert "secret" not in caught.value.message + caught.value.remedy


def test_without_a_window_everything_passes():
    Named().check("https://anything.example.org/")


def test_the_settings_stay_what_they_were():
    found = through(FetchTable(connections=3, retries=1, timeout=2.0), Named())
    assert (found.connections, found.retries, found.timeout) == (3, 1, 2.0)
