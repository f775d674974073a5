"""Firewall windows in a bundle: which of them ride along, covered by its sums, and what a site reads of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, Sample, make_sample, make_site, manifest_of

from airlock.bundle.verify import verify_bundle
from airlock.core.digest import sha256_file
from airlock.core.errors import StateError
from airlock.evidence import ledger
from airlock.evidence.window import OpenHost, WindowRecord
from airlock.site.audit import tell_windows
from airlock.site.importing import import_bundle
from airlock.site.status import site_status


def window(sample: Sample, ident: str, **changes) -> str:
    values = {
        "id": ident, "state": "closed", "backend": "nftables", "verb": "lock", "reason": "why", "requester": "ada",
        "user": "root", "machine": "factory", "opened": f"2024-05-01T10:00:0{ident[-1]}Z",
        "closed": "2024-05-01T10:05:00Z", "hosts": [OpenHost(name="a.example.org", port=443)],
    }  # fmt: skip
    WindowRecord(**(values | changes)).save(sample.factory.windows)
    return ident


def note(sample: Sample, verb: str, *windows: str) -> None:
    ledger.append(sample.factory.ledger, verb, {"lock": sample.lock.digest, "windows": list(windows)})


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


def test_the_windows_of_a_lock_ride_along(sample, tmp_path):
    note(sample, "lock", window(sample, "w-1"), window(sample, "w-2"))
    note(sample, "lock", window(sample, "w-3"))  # locked again, with the same result: nothing new came in
    note(sample, "refresh", window(sample, "w-4", verb="refresh", lock=sample.lock.digest))
    window(sample, "w-5", verb="refresh", lock=sample.lock.digest)  # killed before it could be noted
    window(sample, "w-6", verb="refresh", lock="f" * 64)
    (sample.factory.windows / "w-4.access.log").write_text("what squid said\n")
    info = sample.bundle(tmp_path / "media")
    bundle = tmp_path / "media" / info.id
    assert [one["id"] for one in manifest_of(bundle).windows] == ["w-1", "w-2", "w-4", "w-5"]
    assert {path.name for path in (bundle / "evidence" / "windows").iterdir()} == {
        "w-1.json", "w-2.json", "w-4.json", "w-5.json", "w-4.access.log",
    }  # fmt: skip
    assert "evidence/windows/w-1.json" in (bundle / "SHA256SUMS").read_text()
    assert sample.bundle(tmp_path / "media").id == info.id
    verify_bundle(bundle, QUIET)
    site = make_site(tmp_path / "site")
    import_bundle(bundle, site, expect=None, allow_older=False, reporter=QUIET)
    (status,) = site_status(site).bundles
    assert [one.id for one in status.windows] == ["w-1", "w-2", "w-4", "w-5"]
    assert [one.reason for one in tell_windows(site, info.id)] == ["why"] * 4


def test_a_window_that_is_still_open_is_no_evidence_yet(sample, tmp_path, monkeypatch):
    note(sample, "lock", window(sample, "w-1", state="open"))
    monkeypatch.setattr("airlock.bundle.make.recover", lambda factory: [])
    with pytest.raises(StateError, match="w-1 is open"):
        sample.bundle(tmp_path / "media")


def test_a_bundle_without_windows_is_what_it_was(sample, tmp_path):
    bundle = tmp_path / "media" / sample.bundle(tmp_path / "media").id
    assert json.loads((bundle / "MANIFEST.json").read_text())["windows"] == []
    assert not (bundle / "evidence").exists()


def test_a_changed_record_is_another_bundle(sample, tmp_path):
    note(sample, "lock", window(sample, "w-1"))
    first = sample.bundle(tmp_path / "media")
    window(sample, "w-1", reason="another")
    assert sample.bundle(tmp_path / "media").id != first.id
    assert sha256_file(sample.factory.windows / "w-1.json")
