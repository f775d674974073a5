"""The packet rules as text, and nft's listing of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import StateError, UsageError, WindowError
from airlock.firewall import nft
from airlock.firewall.rules import MARKER, Rules
from airlock.firewall.selection import Selection, select

EVERYTHING = Selection(own="g", users=(7,), subnets=("10.0.0.0/8", "fd00::/8"), interfaces=("pod0",))


def table(**changes) -> str:
    return Rules(table="t", **{"selection": EVERYTHING, "resolver": 5300, "local": frozenset({80}), **changes}).text()


@pytest.mark.parametrize(
    "selection", [EVERYTHING, Selection(own="g"), Selection(machine=True), Selection(namespace="n")]
)
def test_no_rule_lets_established_flows_pass(selection):
    text = table(selection=selection)
    assert "established" not in text
    assert "ct state" not in text.replace("ct state related accept", "")


def test_every_accept_of_a_packet_for_elsewhere_is_behind_the_gate():
    for line in table().splitlines():
        if "@open" in line and ("accept" in line or "goto let_out" in line):
            assert "@gate" in line, line


def test_elements_always_have_a_time():
    rules = Rules(table="t", selection=EVERYTHING)
    text = rules.opened(3.5) + rules.admitted([("192.0.2.1", 443), ("2001:db8::1", 80)], 300)
    added = [line for line in text.splitlines() if line.startswith("add element")]
    assert len(added) == 5
    assert all(" timeout " in line for line in added)
    assert "timeout 3500ms" in added[0]


def test_without_a_resolver_no_question_is_turned_anywhere():
    assert "redirect" in table()
    assert "redirect" not in table(resolver=0)


def test_the_text_replaces_the_table_in_one_transaction():
    assert table().splitlines()[:3] == ["table inet t { }", "delete table inet t", "table inet t {"]


@given(st.lists(st.text(max_size=40), max_size=4))
def test_any_confine_is_understood_or_an_error(texts):
    try:
        found = select(texts, "own")
    except (UsageError, WindowError):
        return
    assert found.whole or found.own or found.cgroups or found.users or found.forwards


@pytest.mark.parametrize(
    "text", ["", "airlock:x", "machine:x", "user", "user:", "subnet:10.0.0.0/33", "interface:a b", "x:y"]
)
def test_what_says_nothing_is_an_error(text):
    with pytest.raises(UsageError):
        select([text], "own")


def listing(**sets) -> bytes:
    names = [f"{name}{v}" for name in ("open", "begun", "sent", "received", "ports", "others") for v in "46"]
    items = [{"chain": {"name": MARKER}}, {"counter": {"name": "refused", "packets": 3}}]
    items += [{"set": {"name": name, "elem": sets.get(name, [])}} for name in ("gate", *names)]
    return json.dumps({"nftables": items}).encode()


def test_a_listing_is_read():
    counter = {"counter": {"packets": 2, "bytes": 120}}
    state = nft.parse(
        listing(
            gate=[{"elem": {"val": "tcp", "timeout": 60, "expires": 12}}],
            open4=[{"elem": {"val": {"concat": ["192.0.2.1", 443]}, "timeout": 300, "expires": 200}}],
            sent6=[{"elem": {"val": {"concat": ["2001:db8::1", 80]}, **counter}}],
            others4=[{"elem": {"val": {"concat": ["192.0.2.9", 1]}, **counter}}],
        ),
        "t",
    )
    assert (state.gate, state.places, state.packets) == (12, {("192.0.2.1", 443)}, 3)
    assert state.sent[("2001:db8::1", 80)].bytes == 120
    assert state.refused[("192.0.2.9", "icmp", 0)].packets == 2


def test_a_table_that_is_not_ours_is_told_apart():
    with pytest.raises(StateError, match="did not make"):
        nft.parse(b'{"nftables": [{"chain": {"name": "input"}}]}', "t")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"nftables": [{"set": {}}]}'])
def test_anything_else_is_an_error_and_never_closed(data):
    with pytest.raises((WindowError, StateError)):
        nft.parse(data, "t")
