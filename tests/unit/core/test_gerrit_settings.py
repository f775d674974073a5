"""``[gerrit]`` of site.toml: all of it or none, and nothing that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.core.errors import UsageError
from airlock.core.settings import Site, load_site

GOOD = 'address = "https://review.example.org/r/"\nuser = "airlock"\npassword_file = "secrets/gerrit"\n'


def site(folder: Path, text: str) -> Site:
    (folder / "site.toml").write_text(f"[gerrit]\n{text}")
    return load_site(folder)


def test_a_whole_table_says_where_gerrit_is(tmp_path):
    place = site(tmp_path, f'{GOOD}[gerrit.projects]\nkolla = "openstack/kolla"\n').gerrit
    assert place is not None
    assert place.address == "https://review.example.org/r"
    assert place.password_file == tmp_path / "secrets/gerrit"
    assert place.project("kolla") == "openstack/kolla"
    assert place.project("project-config") == "project-config"
    assert place.git("openstack/kolla") == "https://review.example.org/r/a/openstack/kolla"


def test_no_table_is_no_gerrit(tmp_path):
    assert site(tmp_path, "").gerrit is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("user", "usr"), "unknown key 'usr' in [gerrit]; did you mean 'user'"),
        ('address = "http://127.0.0.1"\n', "lacks user and password_file"),
        ('[gerrit.projects]\nkolla = "openstack/kolla"\n', "lacks address and user and password_file"),
        (GOOD.replace("https", "ssh"), "no http(s) address"),
        (GOOD.replace("/r/", ":port/"), "no http(s) address"),
        (GOOD.replace("review", "a:b@review"), "holds a user or password"),
        (GOOD.replace('"airlock"', '"air:lock"'), "holds a colon"),
        (f'{GOOD}[gerrit.projects]\nkolla = "../kolla"\n', "cannot name a project"),
        (f'{GOOD}[gerrit.projects]\nkolla = "/kolla"\n', "cannot name a project"),
        (f'{GOOD}[gerrit.projects]\nkolla = ""\n', "cannot name a project"),
        (f'{GOOD}[gerrit.projects]\nkolla = "openstack/kolla.git"\n', "cannot name a project"),
        (f'{GOOD}[gerrit.projects]\nkolla = "-x"\n', "cannot name a project"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, says):
    with pytest.raises(UsageError) as caught:
        site(tmp_path, text)
    assert says in caught.value.message
    assert "a:b" not in caught.value.message
