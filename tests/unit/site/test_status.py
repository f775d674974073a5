"""Status tells what can be built from, and what cannot and why; it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bundle_samples import QUIET, make_sample, make_site, tree

from airlock.evidence import ledger
from airlock.site.importing import import_bundle
from airlock.site.status import site_status


def test_an_empty_site_has_nothing_and_stays_untouched(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    before = tree(tmp_path)
    found = site_status(site)
    assert (found.bundles, found.builds, found.ledger_entries) == ([], [], 0)
    assert found.ledger_head == ledger.GENESIS
    assert found.free > 0
    assert tree(tmp_path) == before


def test_bundles_are_told_with_what_keeps_them_from_use(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    sample = make_sample(tmp_path)
    info = sample.bundle(tmp_path / "media")
    import_bundle(Path(info.path), site, expect=None, allow_older=False, reporter=QUIET)
    (whole,) = site_status(site, check=QUIET).bundles
    assert (whole.id, whole.complete, whole.problem) == ("stream-r1", True, "")
    assert (whole.digest, whole.manifest) == (info.content_digest, info.manifest)

    victim = next(site.artifacts.glob("pool/*/*/*.deb"))
    data = victim.read_bytes()
    victim.write_bytes(bytes(len(data)))
    assert site_status(site).bundles[0].complete  # sizes alone cannot tell
    (changed,) = site_status(site, check=QUIET).bundles
    assert not changed.complete
    assert victim.name in changed.problem
    victim.unlink()
    (lost,) = site_status(site).bundles
    assert not lost.complete
    assert f"deb/{victim.name}" in lost.problem

    (site.artifacts / "bundles" / "stream-r1" / "COMMITTED.json").unlink()
    (cut,) = site_status(site).bundles
    assert "did not come to its end" in cut.problem


def test_bundles_stand_in_the_order_of_their_serials(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    for number in range(10):
        info = make_sample(tmp_path, seed=number, count=1).bundle(tmp_path / "media")
        import_bundle(Path(info.path), site, expect=None, allow_older=False, reporter=QUIET)
    assert [one.id for one in site_status(site).bundles] == [f"stream-r{number}" for number in range(1, 11)]


def test_builds_are_told_newest_first_and_one_that_was_cut_off_too(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    for name, started in (("b1", "2024-05-01T10:00:00Z"), ("b2", "2024-05-02T10:00:00Z")):
        record = {
            "state": "success",
            "bundle": {"id": "stream-r1"},
            "started": started,
            "ended": "",
            "images": [{}, {}],
        }
        (site.records / name).mkdir(parents=True)
        (site.records / name / "record.json").write_text(json.dumps(record | {"more": 1}))
    (site.records / "b3").mkdir()
    (site.records / "b4").mkdir()
    (site.records / "b4" / "record.json").write_bytes(b"{")
    found = site_status(site).builds
    assert [(one.id, one.state, one.images) for one in found] == [
        ("b2", "success", 2), ("b1", "success", 2), ("b4", "unknown", 0), ("b3", "unknown", 0),
    ]  # fmt: skip
    assert [one.id for one in site_status(site, builds=1).builds] == ["b2"]


def test_a_broken_ledger_is_told_and_does_not_hide_the_rest(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    ledger.append(site.ledger, "import", {})
    ledger.append(site.ledger, "import", {})
    head = ledger.verify_chain(site.ledger)
    assert site_status(site).ledger_head == head
    site.ledger.write_bytes(site.ledger.read_bytes()[:-9])
    found = site_status(site)
    assert "line 2: is torn" in found.ledger_problem
    assert found.ledger_entries == 1


def test_what_stands_on_stand_ins_is_counted_for_bundles_and_builds(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    info = make_sample(tmp_path, stand_in=True).bundle(tmp_path / "media")
    import_bundle(Path(info.path), site, expect=None, allow_older=False, reporter=QUIET)
    (bundle,) = site_status(site).bundles
    assert (bundle.images, bundle.stand_ins) == (1, 1)
    (site.records / "b1").mkdir(parents=True)
    record = {"state": "success", "images": [{"stand_ins": ["deb/a"]}, {"stand_ins": []}, {}]}
    (site.records / "b1" / "record.json").write_text(json.dumps(record))
    (build,) = site_status(site).builds
    assert (build.images, build.stand_ins) == (3, 1)
