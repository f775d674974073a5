"""`doctor` tries the Nexus that settings name, and leaves nothing in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.nexus.conftest import Repository

from airlock.site.doctor import Check, examine
from airlock.site.store_probes import configured_stores


def look(repository: Repository, file: str = "site.toml") -> Check:
    place = repository.folder / "environment"
    place.mkdir(exist_ok=True)
    (place / file).write_text(repository.table)
    environment = "site" if file == "site.toml" else "factory"
    (check,) = (one for one in examine([environment], place, (), configured_stores(place)) if "Nexus" in one.name)
    return check


@pytest.mark.parametrize("file", ["site.toml", "factory.toml"])
def test_one_that_works_is_ok_and_nothing_is_left_in_it(repository: Repository, file: str) -> None:
    check = look(repository, file)
    assert (check.state, check.environments) == ("ok", (file.partition(".")[0],))
    assert f"{repository.login.user} may list and write" in check.found
    assert "not for this user to see" in check.found
    with repository.store() as store:
        assert list(store.list("")) == []
    assert not list((repository.nexus.data / "blobs" / repository.name).rglob("*.bytes"))


def test_what_it_lacks_is_named_with_what_to_do(repository: Repository) -> None:
    repository.allow("read", "browse")
    check = look(repository)
    assert check.state == "missing"
    assert "lacks a privilege" in check.found
    assert f"nx-repository-view-raw-{repository.name}-edit" in check.found
    assert "docs/how-to/nexus.md" in check.remedy
    repository.login.password_file.write_text("sesame")
    check = look(repository)
    assert check.state == "missing"
    assert "401" in check.found
    assert "sesame" not in str(check)


def test_a_frozen_one_and_one_without_the_repository_are_told(repository: Repository) -> None:
    repository.nexus.rest().call("POST", "/read-only/freeze")
    try:
        assert "frozen" in look(repository).found
    finally:
        repository.nexus.rest().call("POST", "/read-only/release")
    repository.nexus.rest().call("DELETE", f"/repositories/{repository.name}")
    assert look(repository).state == "missing"


def test_settings_without_one_try_none(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("")
    assert configured_stores(tmp_path) == {}
