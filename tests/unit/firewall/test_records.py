"""Records, squid's log and the page: what comes from outside stays text, and has a bound."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import FormatError
from airlock.core.settings import WindowTable
from airlock.evidence.window import OpenHost, Proof, RefusedAttempt, WindowRecord, read_window, read_windows
from airlock.firewall import none
from airlock.firewall.report import page
from airlock.firewall.squid_log import read_log

NAMED = frozenset({("a.example.org", 443), ("a.example.org", 80)})


def record(**changes) -> WindowRecord:
    values = {
        "id": "w-20240501T100000Z-abcdef", "state": "closed", "backend": "nftables", "verb": "refresh", "reason": "why",
        "requester": "ada", "user": "root", "machine": "factory", "opened": "2024-05-01T10:00:00Z",
        "until": "2024-05-01T11:00:00Z", "closed": "2024-05-01T10:05:00Z",
        "hosts": [OpenHost(name="a.example.org", port=443)],
    }  # fmt: skip
    return WindowRecord(**(values | changes))


def test_a_record_is_read_back_as_it_was(tmp_path):
    one = record()
    digest = one.save(tmp_path)
    assert len(digest) == 64
    assert read_windows(tmp_path) == [one]
    assert json.loads(one.to_bytes())["format"] == 1


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"id": 1}'])
def test_what_is_no_record_is_an_error(data):
    with pytest.raises(FormatError):
        read_window(data, "it")


def test_a_newer_format_is_refused_and_new_fields_are_passed_over():
    fields = msgspec.to_builtins(record())
    assert read_window(json.dumps(fields | {"more": 1}).encode(), "it").id == record().id
    with pytest.raises(FormatError, match="format 2"):
        read_window(json.dumps(fields | {"format": 2}).encode(), "it")


@given(st.lists(st.text(max_size=60), max_size=6))
def test_nothing_of_a_record_becomes_markup(texts):
    rows = [
        record(reason=f"<script>{text}", closed_by=text, notes=[text], refused_names=[text], machine=text,
               verb=f"v{text}",
               refused=[RefusedAttempt(to=f"<b>x-{text}", protocol="tcp", port=1, count=1)],
               proof=[Proof(when="open", attempt=f"<i>x-{text}", named=False, outcome="connected", held=False)])
        for text in texts
    ]  # fmt: skip
    text = page(rows, "<u>as the ledger says")
    for tag in ("<script", "<b>x-", "<i>x-", "<u>"):
        assert tag not in text


def test_the_page_tells_what_did_not_hold_and_what_went_without():
    broken = Proof(when="closed", attempt="tcp 203.0.113.1:443", named=True, outcome="connected", held=False)
    text = page([record(proof=[broken]), record(id="w-2", state="none", backend="none", why="because")], "fine")
    assert "1 of 1 proof did not hold" in text
    assert "Every proof held" not in text
    assert "no window: because" in text
    assert "1 command without a window" in text


def test_the_page_needs_nothing_from_elsewhere_and_says_each_limit_once():
    rows = [record(id=f"w-{number}", cannot_prove=["names", "sockets"]) for number in range(3)]
    rows[0].proof.append(
        Proof(when="closed", attempt="tcp a.example.org:443", named=True, outcome="refused", held=True)
    )
    text = page(rows, "fine")
    assert "Every proof held (1)" in text
    assert not re.search(r"https?://|src=|href=|url\(|@import", text)
    assert text.count("<li>names</li>") == 1
    assert text.count("limits 1, 2") == 3
    assert "@media print" in text


def test_without_a_window_hosts_are_whatever_they_are():
    found = none.hosts({"debian": "http://192.0.2.1/debian", "pypi": "https://a.example.org/simple"})
    assert [(host.name, host.port) for host in found] == [("192.0.2.1", 80), ("a.example.org", 443)]
    assert none.why(WindowTable()) == none.UNSET


def test_squids_log_is_summed_by_host_and_refusals_are_told_apart(tmp_path):
    log = tmp_path / "access.log"
    log.write_text(
        "1.0 5 TCP_TUNNEL/200 100 2000 CONNECT a.example.org:443\n"
        "1.1 5 TCP_TUNNEL/200 50 1000 CONNECT a.example.org:443\n"
        "1.2 5 TCP_MISS/200 10 20 GET http://a.example.org/x y\n"
        "1.3 0 TCP_DENIED/403 83 3446 CONNECT b.example.org:443\n"
        "1.3 0 TCP_DENIED/403 83 3446 CONNECT unnamed.airlock.invalid:443\n"
        "1.4 0 NONE_NONE/000 0 0 - error:transaction-end-before-headers\n"
        "nonsense\n"
    )
    found = read_log(log, NAMED)
    assert [(one.hosts, one.port, one.connections, one.sent, one.received) for one in found.contacts] == [
        (["a.example.org"], 80, 1, 10, 20),
        (["a.example.org"], 443, 2, 150, 3000),
    ]
    assert [(one.to, one.protocol, one.port, one.count) for one in found.refused] == [
        ("b.example.org", "connect", 443, 1)
    ]


@given(st.binary(max_size=400))
def test_any_log_can_be_read(tmp_path_factory, data):
    log = tmp_path_factory.mktemp("log") / "access.log"
    log.write_bytes(b"1 2 TCP_DENIED/403 1 1 GET " + data)
    read_log(log, NAMED)
