"""``[zuul]`` of site.toml: all of it or none, and nothing that cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.core.errors import UsageError
from airlock.core.settings import Site, load_site

GOOD = 'address = "https://zuul.example.org/z/"\ntenant = "plant-7"\ntoken_file = "secrets/token"\n'


def site(folder: Path, text: str) -> Site:
    (folder / "site.toml").write_text(f"[zuul]\n{text}")
    return load_site(folder)


def test_a_whole_table_says_where_zuul_is_and_what_it_is_asked(tmp_path):
    place = site(tmp_path, GOOD).zuul
    assert place is not None
    assert (place.address, place.tenant) == ("https://zuul.example.org/z", "plant-7")
    assert place.token_file == tmp_path / "secrets/token"
    assert (place.project, place.pipeline, place.job) == ("openstack/kolla", "build", "kolla-build-full")


@pytest.mark.parametrize("text", ["", 'job = "another"\n'])
def test_without_an_address_there_is_no_zuul(tmp_path, text):
    assert site(tmp_path, text).zuul is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("tenant", "tenants"), "unknown key 'tenants' in [zuul]; did you mean 'tenant'"),
        ('address = "http://127.0.0.1"\n', "lacks tenant and token_file"),
        (f'{GOOD}job = ""\n', "lacks job"),
        (GOOD.replace("https", "ftp"), "no http(s) address"),
        (GOOD.replace("/z/", ":port/"), "no http(s) address"),
        (GOOD.replace("/z/", "/?a=b"), "no http(s) address"),
        (GOOD.replace("zuul.e", "a:b@zuul.e"), "holds a user or password"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, says):
    with pytest.raises(UsageError) as caught:
        site(tmp_path, text)
    assert says in caught.value.message
    assert "a:b" not in caught.value.message
