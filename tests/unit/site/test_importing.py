"""Importing: verified, hashed while copied, read back, committed last; older bundles stay usable."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, Sample, forge, make_sample, make_site, manifest_of, tree

from airlock.bundle.manifest import read_manifest
from airlock.bundle.stored import list_bundles, open_bundle
from airlock.core.digest import sha256_bytes
from airlock.core.errors import (
    FormatError,
    IncompleteError,
    IntegrityError,
    SpaceError,
    StateError,
    UsageError,
)
from airlock.core.files import exclusive
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.site.importing import ImportResult, import_bundle
from airlock.store.artifacts import DirectoryStore, StoredFile, store_path


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


@pytest.fixture
def bundle(sample: Sample, tmp_path: Path) -> Path:
    return Path(sample.bundle(tmp_path / "media").path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site")


def bring(bundle: Path, site: Site, expect: str | None = None, *, allow_older: bool = False) -> ImportResult:
    return import_bundle(bundle, site, expect=expect, allow_older=allow_older, reporter=QUIET)


def second(tmp_path: Path) -> Path:
    """The next bundle of the stream: half of its content is that of the first."""
    return Path(make_sample(tmp_path, count=9, seed=0).bundle(tmp_path / "media").path)


def test_the_store_is_laid_out_as_the_format_says(sample: Sample, bundle: Path, site: Site) -> None:
    result = bring(bundle, site)
    held = tree(site.artifacts)
    on_media = tree(bundle)
    for artifact in sample.lock.artifacts:
        assert sha256_bytes(held.pop(store_path(artifact.sha256, artifact.file))) == artifact.sha256
    for path, data in on_media.items():
        if not path.startswith("pool/"):
            assert held.pop(f"bundles/stream-r1/{path}") == data
    assert held.pop("dists/stream-r1/debian/bookworm/Release") == on_media["indexes/apt/debian/dists/bookworm/Release"]
    assert held.pop("dists/stream-r1/debian/bookworm/main/binary-amd64/Packages")
    assert list(held) == ["bundles/stream-r1/COMMITTED.json"]
    assert (result.already, result.held, result.expected) == (False, 0, False)
    assert result.manifest == sha256_bytes(on_media["MANIFEST.json"])


def test_the_stored_bundle_reads_back_what_was_brought(sample: Sample, bundle: Path, site: Site) -> None:
    bring(bundle, site)
    stored = open_bundle(DirectoryStore(site.artifacts), "stream-r1")
    assert stored.lock == sample.lock
    assert stored.manifest == manifest_of(bundle)
    assert stored.manifest_digest == sha256_bytes((bundle / "MANIFEST.json").read_bytes())
    assert stored.definition_files == sample.definition.files
    assert stored.index("apt/debian/dists/bookworm/Release") == b"Suite: bookworm\n"
    assert stored.index("apt/debian/dists/sid/Release") is None
    assert "files.json" in stored.index_names
    for artifact in sample.lock.artifacts:
        file = stored.content(artifact.sha256, artifact.file)
        assert file == StoredFile(store_path(artifact.sha256, artifact.file), artifact.size, artifact.sha256)
        assert stored.store.digest(file.path) == (artifact.sha256, artifact.size)
    first = sample.lock.artifacts[0]
    assert stored.content(first.sha256, "..") is None
    assert stored.content("0" * 64, first.file) is None
    stored.check(QUIET)


def test_the_same_bundle_again_changes_nothing(bundle: Path, site: Site) -> None:
    bring(bundle, site)
    before = {path: path.stat().st_mtime_ns for path in site.root.rglob("*") if path.name != "import.lock"}
    again = bring(bundle, site)
    assert (again.already, again.copied) == (True, 0)
    assert {path: path.stat().st_mtime_ns for path in site.root.rglob("*") if path.name != "import.lock"} == before


def test_what_the_store_holds_is_not_copied_again(bundle: Path, site: Site, tmp_path: Path) -> None:
    bring(bundle, site)
    newer = second(tmp_path)
    result = bring(newer, site)
    assert result.id == "stream-r2"
    assert result.held == 6  # the six artifacts that both have
    store = DirectoryStore(site.artifacts)
    assert [one.id for one in list_bundles(store)] == ["stream-r1", "stream-r2"]
    for ident in ("stream-r1", "stream-r2"):
        open_bundle(store, ident).check(QUIET)


@pytest.mark.parametrize("harm", ["changed", "same size and time", "gone"])
def test_what_the_store_holds_is_hashed_all_the_same(sample: Sample, bundle: Path, site: Site, harm: str) -> None:
    bring(bundle, site)
    whole = tree(site.artifacts)
    victim = site.artifacts / store_path(sample.lock.artifacts[3].sha256, sample.lock.artifacts[3].file)
    status = victim.stat()
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(bytes(status.st_size - (harm == "changed")))
        os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    stored = open_bundle(DirectoryStore(site.artifacts), "stream-r1")
    with pytest.raises(IncompleteError if harm == "gone" else IntegrityError, match=victim.name.replace("+", r"\+")):
        stored.check(QUIET)
    result = bring(bundle, site)
    assert (result.already, result.copied) == (True, 1)
    assert tree(site.artifacts) == whole
    assert list(ledger.entries(site.ledger))[-1].data["mended"] is True


def test_the_ledger_tells_what_was_imported_and_that_nobody_vouched(bundle: Path, site: Site) -> None:
    bring(bundle, site)
    (entry,) = ledger.entries(site.ledger)
    assert entry.verb == "import"
    assert entry.data["id"] == "stream-r1"
    assert entry.data["factory_ledger_head"] == manifest_of(bundle).ledger_head
    assert entry.data["waiver"]
    assert list_bundles(DirectoryStore(site.artifacts))[0].ledger == entry.hash


def test_an_expected_digest_leaves_no_waiver(bundle: Path, site: Site) -> None:
    digest = sha256_bytes((bundle / "MANIFEST.json").read_bytes())
    assert bring(bundle, site, f"sha256:{digest.upper()}").expected
    assert next(ledger.entries(site.ledger)).data["waiver"] == ""


def test_another_digest_than_expected_imports_nothing(bundle: Path, site: Site) -> None:
    digest = sha256_bytes((bundle / "MANIFEST.json").read_bytes())
    forge(bundle, notes="rewritten by someone who can compute sums")
    with pytest.raises(IntegrityError, match=digest):
        bring(bundle, site, digest)
    assert not site.artifacts.exists()
    assert not site.ledger.exists()


@pytest.mark.parametrize("digest", ["", "abc", "z" * 64])
def test_a_digest_that_is_none_is_a_usage_error(bundle: Path, site: Site, digest: str) -> None:
    with pytest.raises(UsageError, match="not a sha256"):
        bring(bundle, site, digest)


def test_a_site_may_require_the_digest(bundle: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "strict", "[build]\nrequire_expect = true\n")
    with pytest.raises(UsageError, match="require_expect"):
        bring(bundle, site)
    assert bring(bundle, site, sha256_bytes((bundle / "MANIFEST.json").read_bytes())).expected


def test_a_damaged_bundle_imports_nothing(bundle: Path, site: Site) -> None:
    victim = next(bundle.glob("pool/*/*.whl"))
    victim.write_bytes(bytes(victim.stat().st_size))
    with pytest.raises(IntegrityError, match="wrong content"):
        bring(bundle, site)
    victim.unlink()
    with pytest.raises(IncompleteError, match="missing"):
        bring(bundle, site)
    assert not site.artifacts.exists()


def test_an_older_serial_is_refused_unless_asked_for(bundle: Path, site: Site, tmp_path: Path) -> None:
    bring(second(tmp_path), site)
    with pytest.raises(StateError, match="stream-r1 is older than stream-r2") as caught:
        bring(bundle, site)
    assert "--allow-older" in caught.value.remedy
    assert bring(bundle, site, allow_older=True).id == "stream-r1"
    assert list(ledger.entries(site.ledger))[-1].data["allow_older"] is True
    assert bring(bundle, site).already  # now it is here


def test_another_stream_is_never_older(bundle: Path, site: Site, tmp_path: Path) -> None:
    bring(second(tmp_path), site)
    other = make_sample(tmp_path / "b", name="other").bundle(tmp_path / "media")
    assert bring(Path(other.path), site).id == "other-r1"


def test_an_id_that_means_something_else_is_refused(bundle: Path, site: Site, tmp_path: Path) -> None:
    bring(bundle, site)
    before = tree(site.artifacts)
    forged = make_sample(tmp_path / "else", seed=9).bundle(tmp_path / "other media")
    with pytest.raises(StateError, match="another bundle was imported as stream-r1"):
        bring(Path(forged.path), site)
    assert tree(site.artifacts) == before


def test_one_importer_at_a_time(bundle: Path, site: Site) -> None:
    with exclusive(site.state / "import.lock", "x"), pytest.raises(StateError, match="another airlock process"):
        bring(bundle, site)
    assert not site.artifacts.exists()


def test_content_that_changes_after_verification_never_lands(
    bundle: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = next(bundle.glob("pool/*/*.whl"))
    original = DirectoryStore.require

    def swap(self: DirectoryStore, needed: int, what: str) -> bool:
        victim.write_bytes(bytes(victim.stat().st_size))
        return original(self, needed, what)

    monkeypatch.setattr(DirectoryStore, "require", swap)
    with pytest.raises(IntegrityError):
        bring(bundle, site)
    with pytest.raises(StateError, match="not in the store"):
        open_bundle(DirectoryStore(site.artifacts), "stream-r1")


def test_a_store_that_loses_what_it_was_given_commits_nothing(
    bundle: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DirectoryStore.sync
    synced: list[bool] = []

    def forgetful(self: DirectoryStore) -> None:
        original(self)
        if not synced:
            next(site.artifacts.glob("pool/*/*/*.deb")).unlink()
        synced.append(True)

    monkeypatch.setattr(DirectoryStore, "sync", forgetful)
    with pytest.raises(IntegrityError, match="does not give back"):
        bring(bundle, site)
    assert list_bundles(DirectoryStore(site.artifacts)) == []
    assert bring(bundle, site).copied == 1


def test_room_is_asked_for_before_the_first_byte(bundle: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(site.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(SpaceError):
        bring(bundle, site)
    assert not site.artifacts.exists()


def test_a_commit_file_that_is_none_does_not_count(bundle: Path, site: Site) -> None:
    bring(bundle, site)
    store = DirectoryStore(site.artifacts)
    commit = site.artifacts / "bundles" / "stream-r1" / "COMMITTED.json"
    whole = commit.read_bytes()
    for junk in (
        b"",
        whole[:-20],
        whole.replace(b"stream-r1", b"stream-r9"),
        whole.replace(b'"format":1', b'"format":2'),
    ):
        commit.write_bytes(junk)
        with pytest.raises(FormatError):
            open_bundle(store, "stream-r1")
        assert list_bundles(store) == []
    assert not bring(bundle, site).already
    assert open_bundle(store, "stream-r1").commit.ledger != ""


def test_a_manifest_or_index_changed_in_the_store_is_not_read(bundle: Path, site: Site) -> None:
    bring(bundle, site)
    folder = site.artifacts / "bundles" / "stream-r1"
    store = DirectoryStore(site.artifacts)
    (folder / "indexes" / "files.json").write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"files\.json has changed"):
        open_bundle(store, "stream-r1").index("files.json")
    (folder / "airlock.lock").unlink()
    with pytest.raises(IncompleteError, match=r"lost airlock\.lock"):
        _ = open_bundle(store, "stream-r1").lock
    data = (folder / "MANIFEST.json").read_bytes().replace(b"18", b"19", 1)
    (folder / "MANIFEST.json").write_bytes(data)
    with pytest.raises(IntegrityError, match=r"MANIFEST\.json has changed"):
        open_bundle(store, "stream-r1")


def test_an_id_that_is_not_there_names_the_nearest(bundle: Path, site: Site) -> None:
    bring(bundle, site)
    with pytest.raises(StateError, match="did you mean 'stream-r1'"):
        open_bundle(DirectoryStore(site.artifacts), "stream-r11")
    with pytest.raises(IntegrityError):
        open_bundle(DirectoryStore(site.artifacts), "../stream-r1")


def test_two_artifacts_of_one_content_are_found_under_both_names(site: Site, tmp_path: Path) -> None:
    sample = make_sample(tmp_path, count=0, extra={"one_1_all.deb": b"same", "two_1_all.deb": b"same"})
    bring(Path(sample.bundle(tmp_path / "media").path), site)
    stored = open_bundle(DirectoryStore(site.artifacts), "stream-r1")
    for artifact in sample.lock.artifacts:
        file = stored.content(artifact.sha256, artifact.file)
        assert file is not None
        assert stored.store.read_bytes(file.path, 4) == b"same"


def test_the_store_shares_no_inode_with_the_media(bundle: Path, site: Site) -> None:
    bring(bundle, site)
    assert all(path.stat().st_nlink == 1 for path in site.artifacts.rglob("*") if path.is_file())
    shutil.rmtree(bundle)
    open_bundle(DirectoryStore(site.artifacts), "stream-r1").check(QUIET)
    read_manifest((site.artifacts / "bundles" / "stream-r1" / "MANIFEST.json").read_bytes())


def test_images_on_stand_ins_are_told_of_and_counted_in_the_ledger(tmp_path: Path, site: Site) -> None:
    bundle = Path(make_sample(tmp_path, stand_in=True).bundle(tmp_path / "media").path)
    assert str(bring(bundle, site).proven) == "0 images proven on real inputs, 1 against stand-ins"
    assert [entry.data["stand_ins"] for entry in ledger.entries(site.ledger)] == [1]


def test_a_site_that_refuses_stand_ins_takes_real_ones_alone(bundle: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "strict", '[build]\nstand_ins = "refuse"\n')
    other = make_sample(tmp_path / "other", name="imitated", stand_in=True)
    imitated = Path(other.bundle(tmp_path / "media").path)
    with pytest.raises(StateError, match=r'imitated-r1: 0 images .* "refuse" .* keystone \(x86_64\) have .* debian'):
        bring(imitated, site)
    assert not site.artifacts.exists() or tree(site.artifacts) == {}
    assert not site.ledger.exists()
    assert bring(bundle, site).proven.stand_ins == 0
