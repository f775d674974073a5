"""The ledger keeps order and wholeness, survives crashes, and says where it was touched."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.core.errors import ChainError
from airlock.evidence import ledger

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def filled(path: Path, count: int = 4) -> Path:
    for number in range(count):
        ledger.append(path, "bundle", {"id": f"stream-r{number}"})
    return path


def test_entries_come_back_in_order_and_chained(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl")
    found = list(ledger.entries(path))
    assert [entry.seq for entry in found] == [1, 2, 3, 4]
    assert [entry.data["id"] for entry in found] == [f"stream-r{number}" for number in range(4)]
    assert found[0].prev == ledger.GENESIS
    assert [entry.prev for entry in found[1:]] == [entry.hash for entry in found[:-1]]
    assert ledger.verify_chain(path) == found[-1].hash


def test_a_missing_ledger_has_the_genesis_head(tmp_path: Path) -> None:
    assert ledger.verify_chain(tmp_path / "none") == ledger.GENESIS


def test_the_caller_behind_sudo_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert ledger.append(tmp_path / "l", "import", {}).user == "ada"
    monkeypatch.delenv("SUDO_USER")
    assert ledger.append(tmp_path / "l", "import", {}).user != "ada"


@given(data=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_json_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("ledger") / "l"
    entry = ledger.append(path, "verb", data)
    assert list(ledger.entries(path)) == [entry]
    assert entry.data == data


@given(where=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_breaks_the_chain_at_its_line(
    tmp_path_factory: pytest.TempPathFactory, where: int, bit: int
) -> None:
    path = filled(tmp_path_factory.mktemp("ledger") / "l")
    data = bytearray(path.read_bytes())
    where %= len(data)
    line = data[:where].count(b"\n") + 1
    data[where] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(ChainError) as caught:
        ledger.verify_chain(path)
    assert f"line {line}:" in caught.value.message


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_removed_entry_breaks_the_chain(tmp_path: Path, gone: int) -> None:
    path = filled(tmp_path / "l")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
    with pytest.raises(ChainError, match=f"line {gone + 1}: does not follow"):
        ledger.verify_chain(path)


def test_swapped_entries_break_the_chain(tmp_path: Path) -> None:
    path = filled(tmp_path / "l")
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))
    with pytest.raises(ChainError, match="line 1:"):
        ledger.verify_chain(path)


def test_an_entry_rewritten_with_a_fitting_hash_breaks_at_the_next_line(tmp_path: Path) -> None:
    path = filled(tmp_path / "l")
    lines = path.read_bytes().splitlines(keepends=True)
    forged_in = tmp_path / "forged"
    forged_in.write_bytes(lines[0])
    ledger.append(forged_in, "bundle", {"id": "something else"})
    path.write_bytes(forged_in.read_bytes() + b"".join(lines[2:]))
    with pytest.raises(ChainError, match="line 3: does not follow"):
        ledger.verify_chain(path)


@given(cut=st.integers(min_value=1))
@settings(max_examples=60, deadline=None)
def test_a_torn_last_line_is_named_then_set_aside_and_recorded(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = filled(tmp_path_factory.mktemp("ledger") / "l", 3)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    torn = last[: 1 + cut % (len(last) - 1)]
    path.write_bytes(whole[: -len(last)] + torn)
    with pytest.raises(ChainError, match="line 3: is torn"):
        ledger.verify_chain(path)
    entry = ledger.append(path, "bundle", {"id": "after"})
    found = list(ledger.entries(path))
    assert [one.verb for one in found] == ["bundle", "bundle", ledger.TORN_VERB, "bundle"]
    assert found[-1] == entry
    assert found[2].data["size"] == len(torn)
    assert path.with_name("l.torn").read_bytes() == torn + b"\n"


def test_a_ledger_torn_in_its_first_line_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "l"
    path.write_bytes(b'{"data"')
    ledger.append(path, "bundle", {})
    assert [entry.verb for entry in ledger.entries(path)] == [ledger.TORN_VERB, "bundle"]


def test_nothing_is_appended_to_a_ledger_whose_last_entry_was_changed(tmp_path: Path) -> None:
    path = filled(tmp_path / "l")
    changed = path.read_bytes().replace(b"stream-r3", b"stream-r9")
    path.write_bytes(changed)
    with pytest.raises(ChainError, match="changed since"):
        ledger.append(path, "bundle", {})
    assert path.read_bytes() == changed


def test_an_entry_longer_than_the_read_window_is_found(tmp_path: Path) -> None:
    path = tmp_path / "l"
    ledger.append(path, "build", {"text": "x" * 300_000})
    ledger.append(path, "build", {})
    ledger.append(path, "build", {"text": "y" * 70_000})
    ledger.append(path, "build", {})
    assert len(list(ledger.entries(path))) == 4


def test_a_write_that_is_cut_short_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    path = filled(tmp_path / "l")
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 40, hard))  # the first 40 bytes of the entry still fit
    try:
        with pytest.raises(OSError, match="too large"):
            ledger.append(path, "bundle", {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    ledger.append(path, "bundle", {})
    assert [entry.verb for entry in ledger.entries(path)] == ["bundle"] * 5


def _append_many(path: Path, name: str) -> None:
    for number in range(25):
        ledger.append(path, "bundle", {"who": name, "number": number})


def test_writers_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "l"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = list(ledger.entries(path))
    assert len(found) == 75
    for name in "abc":
        assert [entry.data["number"] for entry in found if entry.data["who"] == name] == list(range(25))


def test_a_line_is_canonical_json(tmp_path: Path) -> None:
    path = filled(tmp_path / "l", 1)
    line = path.read_text()
    assert json.dumps(json.loads(line), sort_keys=True, separators=(",", ":")) + "\n" == line
