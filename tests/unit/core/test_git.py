"""Logins leave an address before git sees it; what git is told about the network."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.git import Git, GitServer

secrets = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@given(secrets, secrets)
def test_a_login_is_taken_out_of_an_address_whatever_it_holds(user: str, password: str) -> None:
    host = "git.example.org:8443"
    server = GitServer.of(f"https://{quote(user, safe='')}:{quote(password, safe='')}@{host}/a/b.git")
    assert server.url == f"https://{host}/a/b.git"
    assert (server.user, server.password) == (user, password)
    told = server.environment()
    assert told["AIRLOCK_GIT_PASSWORD"] == password
    assert told["GIT_CONFIG_KEY_0"] == f"credential.https://{host}.helper"
    assert urlsplit(server.url).username is None


def test_without_a_login_git_is_told_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ours.pem")
    monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
    told = GitServer.of("https://git.example.org/x").environment()
    assert not [key for key in told if key.startswith(("AIRLOCK", "GIT_CONFIG"))]
    assert told["https_proxy"] == "http://proxy.example.org:3128"
    assert told["GIT_SSL_CAINFO"] == "/etc/ours.pem"
    assert GitServer("https://git.example.org/x", direct=True).environment()["no_proxy"] == "*"


def test_what_went_wrong_is_said(tmp_path) -> None:
    git = Git(tmp_path / "repository.git")
    git.init()
    said = git.ask("rev-parse", "--verify", "nothing")
    assert not said.ok
    assert "Needed a single revision" in said.words
    assert git.object("refs/heads/none") == ""
    assert git.object("--exec-path") == "", "a name was taken for an option"
    assert git.refs() == {}
