"""What a Nexus refuses or cannot do is one clear error each: what, where, and what to do about it."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.bundle_samples import QUIET, Sample, make_sample
from tests.integration.nexus.conftest import Repository

from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError, UpstreamError, UsageError
from airlock.core.settings import load_site
from airlock.site.importing import import_bundle
from airlock.store.nexus import NexusStore

pytestmark = pytest.mark.usefixtures("hasty")
DATA = b"right"


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


@pytest.fixture
def bundle(sample: Sample, tmp_path: Path) -> Path:
    return Path(sample.bundle(tmp_path / "media").path)


def bring(bundle: Path, repository: Repository) -> None:
    import_bundle(bundle, repository.site(), expect=None, allow_older=False, reporter=QUIET)


def put(repository: Repository, path: str = "pool/aa/x/file", data: bytes = DATA) -> None:
    with repository.store() as store:
        store.put_bytes(path, data)


def test_a_wrong_password_is_told_before_anything_is_read_or_written(repository: Repository, bundle: Path) -> None:
    repository.login.password_file.write_text("sesame\n")
    (bundle / "README.txt").write_text("damaged")  # would be found first, if the bundle were read first
    with pytest.raises(UsageError, match=f"password of user {repository.login.user} .401.") as caught:
        bring(bundle, repository)
    assert repository.nexus.address in caught.value.message
    assert "password_file" in caught.value.remedy
    assert "sesame" not in f"{caught.value.message} {caught.value.remedy}"


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_password_that_others_may_read_is_not_used(repository: Repository, bundle: Path, mode: int) -> None:
    repository.login.password_file.chmod(mode)
    with pytest.raises(UsageError, match="may read it") as caught:
        bring(bundle, repository)
    assert f"chmod 600 {repository.login.password_file}" in caught.value.remedy


@pytest.mark.parametrize(
    ("actions", "lacking"), [((), "edit"), (("read", "browse"), "edit"), (("read", "browse", "add"), "edit")]
)
def test_a_user_without_the_privilege_is_told_which_one(
    repository: Repository, bundle: Path, actions: tuple[str, ...], lacking: str
) -> None:
    repository.allow(*actions)
    with pytest.raises(UsageError, match="lacks a privilege.*403") as caught:
        bring(bundle, repository)
    assert f"nx-repository-view-raw-{repository.name}-{lacking}" in caught.value.remedy


def test_a_user_who_may_not_read_back_imports_nothing(repository: Repository, bundle: Path) -> None:
    repository.allow("edit", "browse")
    with pytest.raises(UsageError, match="lacks a privilege.*403.*read "):
        bring(bundle, repository)
    repository.allow("edit", "read")  # enough: what may be read may be listed
    bring(bundle, repository)


def test_a_repository_that_is_not_there_is_told(repository: Repository, bundle: Path) -> None:
    everywhere = repository.nexus.make_user("everywhere", "*", ["*"])
    repository = replace(repository, name=f"{repository.name}-else", login=everywhere)
    with repository.store() as store:
        for action in (store.ready, lambda: list(store.list("")), lambda: store.digest("x"), lambda: put_with(store)):
            with pytest.raises(UsageError, match=f"no repository {repository.name} .404.") as caught:
                action()
            assert "raw hosted" in caught.value.remedy


def put_with(store: NexusStore) -> None:
    store.put_bytes("pool/aa/x/file", DATA)


def test_a_proxy_is_no_store_and_its_404_is_not_believed(repository: Repository) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        repository.nexus.rest().call(
            "POST",
            "/repositories/raw/proxy",
            {
                "name": f"proxy-{repository.name}",
                "online": True,
                "storage": {"blobStoreName": repository.name, "strictContentTypeValidation": False},
                "proxy": {"remoteUrl": f"http://127.0.0.1:{nobody.getsockname()[1]}/", "contentMaxAge": 1440,
                          "metadataMaxAge": 1440},
                "negativeCache": {"enabled": False, "timeToLive": 1440},
                "httpClient": {"blocked": False, "autoBlock": True},
            },
        )  # fmt: skip
        everywhere = repository.nexus.make_user("everywhere", "*", ["*"])
        proxy = replace(repository, name=f"proxy-{repository.name}", login=everywhere)
        with proxy.store() as store:
            with pytest.raises(UsageError, match="raw proxy, not raw hosted"):
                store.ready()
            with pytest.raises(UsageError, match="takes no files"):
                store.put_bytes("x", DATA)
            proxy.ask("GET", "x")  # from now on its upstream is blocked
            with pytest.raises((UsageError, UpstreamError), match="hosted|Blocked"):
                store.digest("x")


def test_other_bytes_in_a_write_once_repository_are_named_and_stay(repository: Repository) -> None:
    repository.put("pool/aa/x/file", b"wrong")
    with pytest.raises(IntegrityError, match="pool/aa/x/file") as caught:
        put(repository)
    assert repository.nexus.address in caught.value.message
    assert "-delete" in caught.value.remedy
    assert repository.get("pool/aa/x/file") == b"wrong"


def test_who_may_delete_mends_them(repository: Repository) -> None:
    repository.put("pool/aa/x/file", b"wrong")
    repository.allow("edit", "read", "browse", "delete")
    put(repository)
    assert repository.get("pool/aa/x/file") == DATA


def test_a_repository_that_lets_files_be_replaced_is_mended(repository: Repository) -> None:
    repository.change(writePolicy="ALLOW")
    repository.put("pool/aa/x/file", b"wrong")
    put(repository)
    assert repository.get("pool/aa/x/file") == DATA


def test_a_repository_that_takes_nothing_new_is_told(repository: Repository) -> None:
    repository.change(writePolicy="DENY")
    with pytest.raises(UsageError, match="refuses a file.*400") as caught:
        put(repository)
    assert "deployment policy" in caught.value.remedy


def test_a_file_of_another_type_than_its_name_says_is_told(repository: Repository) -> None:
    repository.change(strictContentTypeValidation=True)
    with pytest.raises(UsageError, match="refuses a file") as caught:
        put(repository, "pool/aa/x/file.png", b"<html><body>no picture</body></html>")
    assert "content type" in caught.value.remedy


def test_a_frozen_server_is_told_at_once(repository: Repository, bundle: Path) -> None:
    repository.nexus.rest().call("POST", "/read-only/freeze")
    try:
        with pytest.raises(UpstreamError, match="frozen") as caught:
            bring(bundle, repository)
    finally:
        repository.nexus.rest().call("POST", "/read-only/release")
    assert "Release it" in caught.value.remedy
    bring(bundle, repository)


def test_a_repository_that_is_offline_is_told_at_once(repository: Repository) -> None:
    repository.change(online=False)
    with pytest.raises(UpstreamError, match="offline"):
        put(repository)
    with pytest.raises(UpstreamError, match="offline"), repository.store() as store:
        store.digest("x")


def test_a_server_that_is_not_there_is_told_soon(repository: Repository, bundle: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        table = repository.table.replace(repository.nexus.address, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        site = repository.site()
        (site.root / "site.toml").write_text(table)
        with pytest.raises(UpstreamError, match="connection refused") as caught:
            import_bundle(bundle, load_site(site.root), expect=None, allow_older=False, reporter=QUIET)
    assert "127.0.0.1" in caught.value.message
    assert "Start it" in caught.value.remedy


def test_something_else_than_a_nexus_is_told(repository: Repository) -> None:
    place = msgspec.structs.replace(repository.place, address=f"{repository.nexus.address}/static")
    with NexusStore(place) as store, pytest.raises((UsageError, UpstreamError), match="static"):
        store.ready()


def test_bytes_that_the_server_lost_are_no_file_and_are_mended_by_who_may(repository: Repository) -> None:
    put(repository, data=DATA * 1000)
    (blob,) = (
        path
        for path in (repository.nexus.data / "blobs" / repository.name).rglob("*.bytes")
        if sha256_bytes(path.read_bytes()) == sha256_bytes(DATA * 1000)
    )
    blob.unlink()
    with repository.store() as store:
        assert store.digest("pool/aa/x/file") == ("", 0)
        with pytest.raises(IntegrityError, match="on its books"):
            store.read_bytes("pool/aa/x/file", 10_000)
        with pytest.raises(IntegrityError, match="may not replace"):
            put_with(store)
        repository.allow("edit", "read", "browse", "delete")
        store.put_bytes("pool/aa/x/file", DATA * 1000)
        assert store.digest("pool/aa/x/file") == (sha256_bytes(DATA * 1000), 5000)
