"""Import into a real Nexus keeps what import into a directory keeps, at the price of two requests a file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.bundle_samples import QUIET, make_sample, tree
from tests.integration.nexus.conftest import Repository, requests
from tests.unit.bundle.test_windows import note, window

from airlock.bundle.stored import list_bundles, open_bundle
from airlock.core.errors import IncompleteError, StateError
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.site.audit import tell_windows
from airlock.site.importing import ImportResult, import_bundle
from airlock.site.status import site_status
from airlock.store.artifacts import store_path

pytestmark = pytest.mark.usefixtures("hasty")


def bring(bundle: Path, site: Site, reporter: Reporter = QUIET) -> ImportResult:
    return import_bundle(bundle, site, expect=None, allow_older=False, reporter=reporter)


def whole(repository: Repository, *idents: str) -> None:
    """Every byte of these bundles is in the store, and no other bundle counts."""
    with repository.store() as store:
        assert [one.id for one in list_bundles(store)] == list(idents)
        for ident in idents:
            open_bundle(store, ident).check(QUIET)


def test_a_bundle_lies_there_as_in_a_directory(repository: Repository, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    bundle = Path(sample.bundle(tmp_path / "media").path)
    site = repository.site()
    result = bring(bundle, site)
    assert (result.already, result.held, result.copied) == (False, 0, len(tree(bundle)) + 2)  # apt's indexes twice
    for artifact in sample.lock.artifacts:
        assert repository.get(quote(store_path(artifact.sha256, artifact.file))) == sample.pool.read(artifact.sha256)
    assert repository.get("bundles/stream-r1/MANIFEST.json") == (bundle / "MANIFEST.json").read_bytes()
    assert repository.get("dists/stream-r1/debian/bookworm/Release") == b"Suite: bookworm\n"
    with repository.store() as store:
        stored = open_bundle(store, "stream-r1")
        assert stored.lock == sample.lock
        assert stored.definition_files == sample.definition.files
        stored.check(QUIET)
    (entry,) = ledger.entries(site.ledger)
    assert entry.data["copied"] == result.copied
    assert repository.login.user not in str(entry.data)


@pytest.mark.full  # exact only where no request has to be tried again, which a busy machine cannot promise
def test_a_first_import_costs_two_requests_a_file_and_a_repeated_one(repository: Repository, tmp_path: Path) -> None:
    bundle = Path(make_sample(tmp_path, count=60).bundle(tmp_path / "media").path)
    site = repository.site()
    marks = [len(requests(repository.nexus))]
    copied = bring(bundle, site).copied
    marks.append(len(requests(repository.nexus)))
    again = bring(bundle, site)
    marks.append(len(requests(repository.nexus)))
    assert (again.already, again.copied, again.held) == (True, 0, copied)
    newer = make_sample(tmp_path, count=70)  # the same sixty, and ten more
    result = bring(Path(newer.bundle(tmp_path / "media").path), site)
    marks.append(len(requests(repository.nexus)))
    first, repeated, second = (after - before for before, after in pairwise(marks))
    assert 2 * copied < first <= 2 * copied + 7
    assert copied < repeated <= copied + 2
    assert result.held == 60
    pages = -(-(copied + 1) // 10)
    assert second <= 60 + 2 * result.copied + pages + 7


def test_what_is_there_already_is_not_sent_again_though_no_import_ended(repository: Repository, tmp_path: Path) -> None:
    sample = make_sample(tmp_path, count=12)
    bundle = Path(sample.bundle(tmp_path / "media").path)
    site = repository.site()
    with repository.store() as store:
        for artifact in sample.lock.artifacts[:7]:
            path = store_path(artifact.sha256, artifact.file)
            store.put(path, sample.pool.path(artifact.sha256), sha256=artifact.sha256, size=artifact.size)
    before = sum("PUT" in line for line in requests(repository.nexus))
    result = bring(bundle, site)
    assert result.held == 7
    sent = sum("PUT" in line for line in requests(repository.nexus)) - before
    assert sent == result.copied + 1  # and the commit file
    whole(repository, "stream-r1")


def test_a_bundle_of_which_half_is_gone_is_refused_by_name_and_mended_by_importing_again(
    repository: Repository, tmp_path: Path
) -> None:
    sample = make_sample(tmp_path, count=8)
    bundle = Path(sample.bundle(tmp_path / "media").path)
    site = repository.site()
    bring(bundle, site)
    lost = sample.lock.artifacts[::2]
    for artifact in lost:
        repository.delete(quote(store_path(artifact.sha256, artifact.file)))
    with repository.store() as store, pytest.raises(IncompleteError) as caught:
        open_bundle(store, "stream-r1").check(QUIET)
    assert all(artifact.file in caught.value.message for artifact in lost)
    assert repository.name in caught.value.message
    assert "Import the same bundle again" in caught.value.remedy
    (told,) = site_status(site).bundles
    assert not told.complete
    assert "has lost" in told.problem
    result = bring(bundle, site)
    assert (result.already, result.copied) == (True, len(lost))
    whole(repository, "stream-r1")
    assert list(ledger.entries(site.ledger))[-1].data["mended"] is True


def test_without_its_commit_file_a_bundle_does_not_count(repository: Repository, tmp_path: Path) -> None:
    bundle = Path(make_sample(tmp_path).bundle(tmp_path / "media").path)
    site = repository.site()
    bring(bundle, site)
    repository.delete("bundles/stream-r1/COMMITTED.json")
    with repository.store() as store, pytest.raises(StateError, match="did not come to its end"):
        open_bundle(store, "stream-r1")
    (told,) = site_status(site).bundles
    assert "did not come to its end" in told.problem
    assert bring(bundle, site).copied == 0
    whole(repository, "stream-r1")


def test_an_older_serial_is_refused_by_any_site_of_the_repository(repository: Repository, tmp_path: Path) -> None:
    media = tmp_path / "media"
    first = Path(make_sample(tmp_path).bundle(media).path)
    second = Path(make_sample(tmp_path, count=9).bundle(media).path)
    bring(second, repository.site())
    with pytest.raises(StateError, match="stream-r1 is older than stream-r2"):
        bring(first, repository.site("other"))


def test_the_windows_of_a_bundle_are_told_from_there_too(repository: Repository, tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    note(sample, "lock", window(sample, "w-1"), window(sample, "w-2"))
    site = repository.site()
    bring(Path(sample.bundle(tmp_path / "media").path), site)
    (status,) = site_status(site).bundles
    assert [one.id for one in status.windows] == ["w-1", "w-2"]
    assert [one.id for one in tell_windows(site, "stream-r1")] == ["w-1", "w-2"]


def test_status_lists_the_repository_once(repository: Repository, tmp_path: Path) -> None:
    site = repository.site()
    files = 0
    for count in (4, 8, 12):
        files += bring(Path(make_sample(tmp_path, count=count).bundle(tmp_path / "media").path), site).copied + 1
    before = len(requests(repository.nexus))
    told = site_status(site)
    pages = [line for line in requests(repository.nexus)[before:] if "/v1/assets" in line]
    assert [(one.id, one.complete) for one in told.bundles] == [(f"stream-r{number}", True) for number in (1, 2, 3)]
    assert len(pages) == -(-files // 10)
    assert told.free is None
    assert told.store == f"{repository.nexus.address}/repository/{repository.name}"
    seeing = ("nx-blobstores-read", f"nx-repository-admin-raw-{repository.name}-read")
    repository.allow("edit", "read", "browse", more=seeing)
    assert (site_status(site).free or 0) > 1 << 20
