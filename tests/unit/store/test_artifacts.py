"""The directory store: whole files or none, nothing outside of it, what it gives back is what was put."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from tests.store_contract import SHA, StoreContract, source  # noqa: F401 - fixture

from airlock.core.errors import IntegrityError, SpaceError
from airlock.core.space import space_error
from airlock.store.artifacts import DirectoryStore, StoredFile


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


class TestDirectory(StoreContract):
    """A directory does what every store must do."""


def test_nothing_is_left_of_a_file_that_was_refused(store: DirectoryStore, source: Path) -> None:  # noqa: F811
    store.put("x", source, sha256=SHA, size=7)
    with pytest.raises(IntegrityError):
        store.put("y", source, sha256="0" * 64, size=7)
    assert sorted(path.name for path in store.root.iterdir()) == ["x"]


def test_a_link_inside_is_not_followed(store: DirectoryStore, source: Path, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "outside").mkdir()
    store.root.mkdir()
    (store.root / "pool").symlink_to(tmp_path / "outside")
    with pytest.raises(IntegrityError, match="symbolic link"):
        store.put("pool/x", source, sha256=SHA, size=7)
    assert not list((tmp_path / "outside").iterdir())


def test_a_list_is_sorted_and_without_unfinished_files(store: DirectoryStore, source: Path) -> None:  # noqa: F811
    for path in ("b/2", "b/10", "b/c/1", "a/1"):
        store.put(path, source, sha256=SHA, size=7)
    (store.root / "b" / "3.part").write_bytes(b"")
    (store.root / "b" / "link").symlink_to(source)
    assert list(store.list("b")) == [StoredFile("b/10", 7), StoredFile("b/2", 7), StoredFile("b/c/1", 7)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_space_error_and_others_stay_what_they_are(number: int) -> None:
    with pytest.raises(SpaceError, match="full"), space_error(Path("/srv"), "x"):
        raise OSError(number, "full")
    with pytest.raises(PermissionError), space_error(Path("/srv"), "x"):
        raise PermissionError(errno.EACCES, "no")


def test_room_is_asked_for(store: DirectoryStore) -> None:
    assert store.require(1000, "it")
    assert (store.free() or 0) > 1000
    with pytest.raises(SpaceError):
        store.require(1 << 60, "it")
