from __future__ import annotations

import pytest

from airlock.cli.audit import _story_lines
from airlock.core.digest import sha256_file
from airlock.core.errors import ChainError, UsageError
from airlock.evidence.ledger import GENESIS, append, entries
from airlock.evidence.record import write_record
from airlock.site.audit import all_records, check_records, summarise, tell_build


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "ledger.jsonl"
    append(path, "import", {"bundle": "r1"})
    append(path, "build", {"build": "b1"})
    append(path, "build", {"build": "b2"})
    return path


def test_a_summary_counts_verbs_and_names_the_head(ledger):
    summary, found = summarise(ledger)
    assert (summary.entries, summary.verbs) == (3, {"build": 2, "import": 1})
    assert summary.head == found[-1].hash == list(entries(ledger))[-1].hash


def test_a_missing_ledger_is_empty_not_broken(tmp_path):
    summary, found = summarise(tmp_path / "ledger.jsonl")
    assert (summary.entries, summary.head, found) == (0, GENESIS, [])


def test_a_changed_entry_breaks_the_chain(ledger):
    ledger.write_bytes(ledger.read_bytes().replace(b'"b1"', b'"b9"'))
    with pytest.raises(ChainError, match="line 2"):
        summarise(ledger)


def test_a_ledger_cut_after_its_head_was_noted_is_found_out(ledger):
    head = summarise(ledger)[0].head
    assert summarise(ledger, head)
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    assert summarise(ledger), "without a noted head a cut ledger is whole in itself"
    with pytest.raises(ChainError, match="cut or rewritten"):
        summarise(ledger, head)


def test_an_older_head_stays_in_the_chain_when_it_grows(ledger):
    head = summarise(ledger)[0].head
    append(ledger, "import", {"bundle": "r2"})
    assert summarise(ledger, head)[0].entries == 4


def test_one_unreadable_record_does_not_hide_the_others(records, tmp_path):
    write_record(tmp_path / "b1", records.make())
    (tmp_path / "b2").mkdir()
    (tmp_path / "b2" / "record.json").write_text("{")
    found, unreadable = all_records(tmp_path)
    assert [record.build_id for record in found] == ["b1"]
    assert len(unreadable) == 1
    assert "b2" in unreadable[0]
    assert all_records(tmp_path / "none") == ([], [])


def test_a_build_is_told_with_who_when_why_and_what_came_out(records, tmp_path, ledger):
    write_record(tmp_path / "records" / "b1", records.make())
    story = tell_build(tmp_path / "records", "b1", entries(ledger))
    assert (story.trigger.user, story.trigger.reason) == ("ada", "CVE-2024-0001")
    assert set(story.images) == {"base", "keystone"}
    assert [entry.seq for entry in story.ledger] == [2]
    assert not story.record_checked


def test_what_imitates_the_real_one_is_told_image_by_image(records, tmp_path, ledger):
    record = records.with_image(records.make(), "keystone", stand_ins=["deb/grafana_1_all.deb"])
    write_record(tmp_path / "records" / "b1", record)
    story = tell_build(tmp_path / "records", "b1", entries(ledger))
    assert story.stand_ins == {"keystone": ["deb/grafana_1_all.deb"]}
    assert "proof     1 of 2 images against STAND-INS, not real inputs" in _story_lines(story)


@pytest.mark.parametrize("build", ["b", "../b1", "", "b1/../b1"])
def test_an_unknown_build_is_an_error_with_the_nearest_one(records, tmp_path, build):
    write_record(tmp_path / "b1", records.make())
    with pytest.raises(UsageError, match="there is no build"):
        tell_build(tmp_path, build, [])


@pytest.fixture(params=["record", "images"])
def told(request, records, tmp_path):
    """A record whose outcome the ledger tells, by its sha256 or by its images' digests."""
    path = write_record(tmp_path / "records" / "b1", records.make())
    images = {image.name: image.digest for image in records.make().images}
    outcome = {"record": sha256_file(path)[0]} if request.param == "record" else {"images": images}
    append(tmp_path / "ledger.jsonl", "build-begin", {"build": "b1"})
    append(tmp_path / "ledger.jsonl", "build-end", {"build": "b1", **outcome})
    return tmp_path / "records", tmp_path / "ledger.jsonl", path


def test_a_record_is_held_against_what_the_ledger_tells(told):
    folder, ledger, _ = told
    assert check_records(folder, entries(ledger)) == 1
    assert tell_build(folder, "b1", entries(ledger)).record_checked


def test_a_record_changed_after_the_ledger_told_of_it_is_found_out(records, told):
    folder, ledger, _ = told
    write_record(folder / "b1", records.with_image(records.make(), "base", digest="sha256:other"))
    with pytest.raises(ChainError, match="has been changed"):
        check_records(folder, entries(ledger))
    with pytest.raises(ChainError, match="has been changed"):
        tell_build(folder, "b1", entries(ledger))


def test_a_record_removed_after_the_ledger_told_of_it_is_found_out(told):
    folder, ledger, path = told
    path.unlink()
    with pytest.raises(ChainError, match="gone"):
        check_records(folder, entries(ledger))


def test_a_build_that_never_ended_has_no_record_to_be_held_against(tmp_path):
    append(tmp_path / "ledger.jsonl", "build-begin", {"build": "killed"})
    assert check_records(tmp_path / "records", entries(tmp_path / "ledger.jsonl")) == 0


def test_a_build_id_in_the_ledger_cannot_lead_out_of_the_records(records, tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    append(ledger, "build-end", {"build": "../elsewhere", "record": "0" * 64})
    assert check_records(tmp_path / "records", entries(ledger)) == 0
