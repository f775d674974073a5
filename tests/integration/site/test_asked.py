"""Who asked for a build, through what: in the record and in the ledger, also when nothing came of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, make_sample, make_site, write_indexes
from tests.git_upstream import git, make_repository, served

from airlock.build.build import Request, build
from airlock.bundle.stored import StoredBundle, open_bundle
from airlock.core.errors import AirlockError, StateError
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.evidence.record import read_record
from airlock.site.importing import import_bundle
from airlock.store.artifacts import DirectoryStore

NOWHERE = '[images]\nregistry = "http://127.0.0.1:9"\n'  # a build ends before it begins


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path / "site", NOWHERE)


@pytest.fixture
def commit(tmp_path: Path) -> str:
    folder = make_repository(tmp_path / "upstream/kolla")
    git(folder, "update-server-info")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def bundle(tmp_path: Path, site: Site, commit: str) -> StoredBundle:
    """Of Kolla at ``commit``."""
    with served(tmp_path / "upstream") as address:
        sample = make_sample(tmp_path, repositories={"kolla": ("master", f"{address}/kolla/.git")})
    write_indexes(sample.factory, sample.lock, **{"files.json": b"{}"})
    written = sample.bundle(tmp_path / "media")
    import_bundle(Path(written.path), site, expect=None, allow_older=False, reporter=QUIET)
    return open_bundle(DirectoryStore(site.artifacts), written.id)


def test_record_and_ledger_name_who_asked_why_through_what_and_from_which_commit(
    site: Site, bundle: StoredBundle, commit: str
) -> None:
    details = {"buildset": "s1", "commit": commit}
    request = Request("CVE-2024-0001", through="zuul", requester="olga", details=details, git={"kolla": commit})
    with pytest.raises(AirlockError, match="127.0.0.1:9|root"):
        asyncio.run(build(bundle, site, request, QUIET))
    (folder,) = site.records.iterdir()
    record = read_record(folder)
    assert (record.state, record.git) == ("failure", {"kolla": commit})
    assert (record.trigger.user, record.trigger.account) == ("olga", ledger.current_user())
    assert (record.trigger.through, record.trigger.details) == ("zuul", details)
    begin, end = [entry for entry in ledger.entries(site.ledger) if entry.verb.startswith("build-")]
    for entry in (begin, end):
        told = {name: entry.data[name] for name in ("requester", "reason", "through", "details", "git", "digest")}
        assert told == {
            "requester": "olga", "reason": "CVE-2024-0001", "through": "zuul", "details": details,
            "git": {"kolla": commit}, "digest": record.bundle.digest,
        }  # fmt: skip
    assert end.data["state"] == "failure"


def test_without_a_system_the_account_is_who_asked(site: Site, bundle: StoredBundle) -> None:
    with pytest.raises(AirlockError):
        asyncio.run(build(bundle, site, Request("why"), QUIET))
    trigger = read_record(next(site.records.iterdir())).trigger
    assert trigger.user == trigger.account == ledger.current_user()
    assert (trigger.through, trigger.details) == ("command line", {})


@pytest.mark.parametrize(("name", "says"), [("kolla", "names commit "), ("nova", "names no commit of nova")])
def test_a_commit_that_the_bundle_does_not_name_is_refused_before_anything_is_begun(
    site: Site, bundle: StoredBundle, name: str, says: str
) -> None:
    before = site.ledger.read_bytes()
    with pytest.raises(StateError, match=says):
        asyncio.run(build(bundle, site, Request("why", git={name: "a" * 40}), QUIET))
    assert site.ledger.read_bytes() == before
    assert not site.records.exists()


def test_a_record_of_before_is_still_read(site: Site, bundle: StoredBundle) -> None:
    with pytest.raises(AirlockError):
        asyncio.run(build(bundle, site, Request("why"), QUIET))
    (folder,) = site.records.iterdir()
    document = json.loads((folder / "record.json").read_bytes())
    del document["trigger"]["account"]
    (folder / "record.json").write_text(json.dumps(document))
    assert read_record(folder).trigger.account == ""
