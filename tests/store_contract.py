"""What every artifact store must do. A test module inherits it and gives it a ``store``, empty below ``root``."""

from __future__ import annotations

from pathlib import Path

import pytest

from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError
from airlock.store.artifacts import ArtifactStore

DATA = b"content"
SHA = sha256_bytes(DATA)
LARGE = bytes(range(256)) * 12_289  # 3 MiB and a bit: several pieces, the last one short


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


async def streamed(store: ArtifactStore, path: str) -> bytes:
    return b"".join([chunk async for chunk in store.stream(path)])


class StoreContract:
    """The tests. Whatever they put lies below one folder, so that many may share a server."""

    @pytest.fixture
    def root(self) -> str:
        return "contract"

    async def test_it_gives_back_what_was_put(
        self, store: ArtifactStore, root: str, source: Path, tmp_path: Path
    ) -> None:
        path = f"{root}/pool/aa/x/näme with space_1~2+b%3a@1.deb"
        store.ready()
        store.put(path, source, sha256=SHA, size=7)
        store.put_bytes(f"{root}/bundles/b/x", b"small")
        store.sync()
        assert store.digest(path) == (SHA, 7)
        assert store.read_bytes(f"{root}/bundles/b/x", 5) == b"small"
        assert await streamed(store, path) == DATA
        store.fetch(path, tmp_path / "deep" / "copy", sha256=SHA, size=7)
        assert (tmp_path / "deep" / "copy").read_bytes() == DATA
        local = store.local(path)
        assert local is None or local.read_bytes() == DATA

    @pytest.mark.parametrize("data", [b"", b"x", LARGE, LARGE[: 1 << 18], LARGE[: 1 << 20]])
    async def test_files_of_every_size_come_back(
        self, store: ArtifactStore, root: str, tmp_path: Path, data: bytes
    ) -> None:
        (tmp_path / "file").write_bytes(data)
        path = f"{root}/size/{len(data)}"
        store.put(path, tmp_path / "file", sha256=sha256_bytes(data), size=len(data))
        assert store.digest(path) == (sha256_bytes(data), len(data))
        assert await streamed(store, path) == data

    def test_the_same_twice_is_no_matter(self, store: ArtifactStore, root: str, source: Path) -> None:
        for _ in range(2):
            store.put(f"{root}/twice", source, sha256=SHA, size=7)
            store.put_bytes(f"{root}/bytes", b"same")
        assert store.digest(f"{root}/twice") == (SHA, 7)

    async def test_what_is_not_there_is_none(
        self, store: ArtifactStore, root: str, source: Path, tmp_path: Path
    ) -> None:
        assert store.digest(f"{root}/a/b") is None
        assert list(store.list(f"{root}/a")) == []
        with pytest.raises(FileNotFoundError):
            store.read_bytes(f"{root}/a/b", 10)
        with pytest.raises(FileNotFoundError):
            store.fetch(f"{root}/a/b", tmp_path / "copy", sha256=SHA, size=7)
        with pytest.raises(FileNotFoundError):
            await streamed(store, f"{root}/a/b")
        assert not (tmp_path / "copy").exists()
        store.put(f"{root}/c/d", source, sha256=SHA, size=7)
        assert store.digest(f"{root}/c") is None
        assert store.digest(f"{root}/c/d/e") is None

    @pytest.mark.parametrize(("sha256", "size"), [("0" * 64, 7), (SHA, 8), (SHA, 6), (SHA, 0)])
    def test_other_bytes_than_promised_never_land(
        self, store: ArtifactStore, root: str, source: Path, sha256: str, size: int
    ) -> None:
        with pytest.raises(IntegrityError, match="source"):
            store.put(f"{root}/new", source, sha256=sha256, size=size)
        assert store.digest(f"{root}/new") is None
        store.put(f"{root}/old", source, sha256=SHA, size=7)
        source.write_bytes(b"CONTENT")
        with pytest.raises(IntegrityError, match="source"):
            store.put(f"{root}/old", source, sha256=sha256, size=size)
        assert store.digest(f"{root}/old") == (SHA, 7)

    def test_a_source_that_changes_at_its_end_never_lands(
        self, store: ArtifactStore, root: str, tmp_path: Path
    ) -> None:
        (tmp_path / "large").write_bytes(LARGE[:-1] + b"?")
        with pytest.raises(IntegrityError):
            store.put(f"{root}/large", tmp_path / "large", sha256=sha256_bytes(LARGE), size=len(LARGE))
        assert store.digest(f"{root}/large") is None

    def test_what_is_fetched_is_checked(self, store: ArtifactStore, root: str, source: Path, tmp_path: Path) -> None:
        store.put(f"{root}/x", source, sha256=SHA, size=7)
        for sha256, size in (("0" * 64, 7), (SHA, 6), (SHA, 8)):
            with pytest.raises(IntegrityError):
                store.fetch(f"{root}/x", tmp_path / "copy", sha256=sha256, size=size)
        assert not (tmp_path / "copy").exists()
        assert not list(tmp_path.glob("*.part"))

    @pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "", "a//b", "a/./b", "a\\b", "a\nb"])
    async def test_nothing_outside_is_written_or_read(self, store: ArtifactStore, source: Path, path: str) -> None:
        for action in (
            lambda: store.put(path, source, sha256=SHA, size=7),
            lambda: store.put_bytes(path, b""),
            lambda: store.read_bytes(path, 1),
            lambda: store.digest(path),
            lambda: store.fetch(path, source, sha256=SHA, size=7),
        ):
            with pytest.raises(IntegrityError):
                action()
        with pytest.raises(IntegrityError):
            await streamed(store, path)

    def test_a_list_has_every_file_below_a_folder_once(self, store: ArtifactStore, root: str, source: Path) -> None:
        names = [f"{root}/list/{number}" for number in range(23)] + [f"{root}/list/c/1", f"{root}/listed"]
        for path in names:
            store.put(path, source, sha256=SHA, size=7)
        found = list(store.list(f"{root}/list"))
        assert sorted((file.path, file.size) for file in found) == sorted((path, 7) for path in names[:-1])
        assert {file.sha256 for file in found} <= {"", SHA}
        assert set(names) <= {file.path for file in store.list("")}

    def test_reading_whole_is_bounded(self, store: ArtifactStore, root: str) -> None:
        store.put_bytes(f"{root}/bounded", b"12345")
        assert store.read_bytes(f"{root}/bounded", 5) == b"12345"
        with pytest.raises(IntegrityError, match="larger than 4"):
            store.read_bytes(f"{root}/bounded", 4)

    def test_many_threads_may_use_it(self, store: ArtifactStore, root: str, source: Path) -> None:
        from airlock.core.parallel import in_threads

        paths = [f"{root}/many/{number}" for number in range(40)]
        for _ in in_threads(lambda path: store.put(path, source, sha256=SHA, size=7), paths, 8):
            pass
        found = dict(in_threads(store.digest, paths, 8))
        assert set(found.values()) == {(SHA, 7)}
