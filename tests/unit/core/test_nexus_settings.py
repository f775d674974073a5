"""Where a Nexus is: exactly one store, all four keys, no secret in a settings file."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.core.errors import UsageError
from airlock.core.settings import load_factory, load_site
from airlock.store.artifacts import DirectoryStore
from airlock.store.nexus import NexusStore
from airlock.store.opening import open_copies, open_store

WHOLE = {
    "nexus": "http://127.0.0.1:8081/nexus/",
    "repository": "airlock",
    "user": "importer",
    "password_file": "secrets/nexus",
}


def table(values: dict[str, str]) -> str:
    return "[artifacts]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items())


def site(folder: Path, text: str, name: str = "site.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_nexus_is_a_store_and_its_password_is_not_read_before_it_is_needed(tmp_path: Path) -> None:
    loaded = load_site(site(tmp_path, table(WHOLE), "other.toml"))
    place = loaded.nexus
    assert place is not None
    assert (place.address, place.repository, place.user) == ("http://127.0.0.1:8081/nexus", "airlock", "importer")
    assert place.password_file == tmp_path / "secrets" / "nexus"  # which is not there
    assert place.settings == tmp_path / "other.toml"
    with open_store(loaded) as store:
        assert isinstance(store, NexusStore)
        assert store.name == "http://127.0.0.1:8081/nexus/repository/airlock"
        with pytest.raises(UsageError, match="secrets/nexus holds a secret and cannot be read"):
            store.ready()


@pytest.mark.parametrize("text", ["", '[artifacts]\ndirectory = "artifacts"\n'])
def test_without_one_the_store_is_a_directory(tmp_path: Path, text: str) -> None:
    loaded = load_site(site(tmp_path, text))
    assert loaded.nexus is None
    with open_store(loaded) as store:
        assert isinstance(store, DirectoryStore)
        assert store.root == tmp_path / "artifacts"


@pytest.mark.parametrize("key", [*WHOLE][1:])
def test_every_key_is_wanted(tmp_path: Path, key: str) -> None:
    text = table({name: value for name, value in WHOLE.items() if name != key})
    with pytest.raises(UsageError, match=rf"\[artifacts\] lacks {key}"):
        load_site(site(tmp_path, text))
    (tmp_path / "factory.toml").write_text(text)
    with pytest.raises(UsageError, match=rf"\[artifacts\] lacks {key}"):
        load_factory(tmp_path)


@pytest.mark.parametrize("values", [{}, WHOLE | {"directory": "artifacts"}])
def test_a_site_has_exactly_one_store(tmp_path: Path, values: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="exactly one of directory and nexus"):
        load_site(site(tmp_path, table(values)))


def test_a_directory_has_no_user(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="go with nexus"):
        load_site(site(tmp_path, table({"directory": "a", "user": "importer"})))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("nexus", "127.0.0.1:8081", "no http"),
        ("nexus", "ftp://127.0.0.1", "no http"),
        ("nexus", "http://", "no http"),
        ("nexus", "http://127.0.0.1:port", "no http"),
        ("nexus", "http://127.0.0.1:8081/?a", "no http"),
        ("nexus", "http://importer:sesame@127.0.0.1:8081", "holds a user or password"),
        ("repository", "a/b", "cannot be the name"),
        ("repository", "..", "cannot be the name"),
        ("repository", "a b", "cannot be the name"),
        ("user", "a:b", "colon"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, key: str, value: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        load_site(site(tmp_path, table(WHOLE | {key: value})))
    assert "sesame" not in f"{caught.value.message} {caught.value.remedy}"


def test_a_misspelt_key_is_told_with_the_nearest(tmp_path: Path) -> None:
    text = table(WHOLE | {"passwordfile": "x"})
    with pytest.raises(UsageError, match="did you mean 'password_file'"):
        load_site(site(tmp_path, text))
    (tmp_path / "factory.toml").write_text(text)
    with pytest.raises(UsageError, match="did you mean 'password_file'"):
        load_factory(tmp_path)


def test_a_factory_may_have_one(tmp_path: Path) -> None:
    with open_copies(load_factory(tmp_path)) as store:
        assert store is None
    (tmp_path / "factory.toml").write_text(table(WHOLE))
    place = load_factory(tmp_path).nexus
    assert place is not None
    assert place.settings == tmp_path / "factory.toml"
    with open_copies(load_factory(tmp_path)) as store:
        assert isinstance(store, NexusStore)
