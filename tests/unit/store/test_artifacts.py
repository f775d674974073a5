"""The directory store: whole files or none, nothing outside of it, what it gives back is what was put."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError, SpaceError
from airlock.core.space import space_error
from airlock.store.artifacts import ArtifactStore, DirectoryStore, StoredFile


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"content")
    return path


SHA = sha256_bytes(b"content")


def test_it_gives_back_what_was_put(store: DirectoryStore, source: Path) -> None:
    kept: ArtifactStore = store
    kept.put("pool/aa/x/name_1~2+b.deb", source, sha256=SHA, size=7)
    kept.put_bytes("bundles/b/x", b"small")
    kept.sync()
    assert kept.size("pool/aa/x/name_1~2+b.deb") == 7
    assert kept.exists("pool/aa/x/name_1~2+b.deb", 7)
    assert not kept.exists("pool/aa/x/name_1~2+b.deb", 8)
    assert kept.digest("pool/aa/x/name_1~2+b.deb") == (SHA, 7)
    assert kept.read_bytes("bundles/b/x", 5) == b"small"
    with kept.open("pool/aa/x/name_1~2+b.deb") as stream:
        assert stream.read() == b"content"


def test_what_is_not_there_is_none(store: DirectoryStore, source: Path) -> None:
    assert store.size("a/b") is None
    assert store.digest("a/b") is None
    assert list(store.list("a")) == []
    with pytest.raises(FileNotFoundError):
        store.read_bytes("a/b", 10)
    store.put("a", source, sha256=SHA, size=7)
    assert store.size("a/b") is None
    store.put("c/d", source, sha256=SHA, size=7)
    assert store.size("c") is None


@pytest.mark.parametrize(("sha256", "size"), [("0" * 64, 7), (SHA, 8)])
def test_other_bytes_than_promised_never_land(store: DirectoryStore, source: Path, sha256: str, size: int) -> None:
    store.put("x", source, sha256=SHA, size=7)
    source.write_bytes(b"CONTENT")
    with pytest.raises(IntegrityError):
        store.put("x", source, sha256=sha256, size=size)
    assert store.digest("x") == (SHA, 7)
    assert sorted(path.name for path in store.root.iterdir()) == ["x"]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ""])
def test_nothing_outside_is_written_or_read(store: DirectoryStore, source: Path, path: str) -> None:
    for action in (
        lambda: store.put(path, source, sha256=SHA, size=7),
        lambda: store.put_bytes(path, b""),
        lambda: store.open(path),
        lambda: store.size(path),
        lambda: store.digest(path),
    ):
        with pytest.raises(IntegrityError):
            action()


def test_a_link_inside_is_not_followed(store: DirectoryStore, source: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    store.root.mkdir()
    (store.root / "pool").symlink_to(tmp_path / "outside")
    with pytest.raises(IntegrityError, match="symbolic link"):
        store.put("pool/x", source, sha256=SHA, size=7)
    assert not list((tmp_path / "outside").iterdir())


def test_a_list_is_sorted_and_without_unfinished_files(store: DirectoryStore, source: Path) -> None:
    for path in ("b/2", "b/10", "b/c/1", "a/1"):
        store.put(path, source, sha256=SHA, size=7)
    (store.root / "b" / "3.part").write_bytes(b"")
    (store.root / "b" / "link").symlink_to(source)
    assert list(store.list("b")) == [StoredFile("b/10", 7), StoredFile("b/2", 7), StoredFile("b/c/1", 7)]


def test_reading_whole_is_bounded(store: DirectoryStore) -> None:
    store.put_bytes("x", b"12345")
    with pytest.raises(IntegrityError, match="larger than 4"):
        store.read_bytes("x", 4)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_space_error_and_others_stay_what_they_are(number: int) -> None:
    with pytest.raises(SpaceError, match="full"), space_error(Path("/srv"), "x"):
        raise OSError(number, "full")
    with pytest.raises(PermissionError), space_error(Path("/srv"), "x"):
        raise PermissionError(errno.EACCES, "no")


def test_room_is_asked_for(store: DirectoryStore) -> None:
    store.require(1000, "it")
    with pytest.raises(SpaceError):
        store.require(1 << 60, "it")
