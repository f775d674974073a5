"""Counters of the room as nft prints them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import RoomError
from airlock.room import nft
from airlock.room.report import PacketCount, RefusedPackets


def table(total, *elements):
    sets = {name: {"family": "inet", "name": name, "table": "airlock"} for name in ("ports4", "others6")}
    for name, value, packets in elements:
        element = {"elem": {"val": {"concat": value}, "counter": {"packets": packets, "bytes": 60 * packets}}}
        sets[name].setdefault("elem", []).append(element)
    counter = {"counter": {"family": "inet", "name": "refused", "packets": total, "bytes": 0}}
    return json.dumps({"nftables": [{"metainfo": {}}, counter, *({"set": s} for s in sets.values())]}).encode()


def test_destinations_are_named_with_protocol_port_and_packets():
    count = nft.parse(table(5, ("ports4", ["192.0.2.1", "tcp", 443], 3), ("others6", ["2001:db8::1", 58], 2)))
    assert count.packets == 5
    assert count.refused == (
        RefusedPackets(family="ipv4", daddr="192.0.2.1", protocol="tcp", port=443, packets=3),
        RefusedPackets(family="ipv6", daddr="2001:db8::1", protocol="ipv6-icmp", port=None, packets=2),
    )


@pytest.mark.parametrize("data", [b"", b"{}", b'{"nftables": []}', b'{"nftables": [{"counter": {}}]}', b"[1]"])
def test_a_table_without_its_counter_is_an_error_and_never_a_zero(data):
    with pytest.raises(RoomError):
        nft.parse(data)


KEYS = st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.sampled_from(["tcp", "udp"]), st.integers(1, 3))


def count_of(packets: dict) -> PacketCount:
    refused = [
        RefusedPackets(family="ipv4", daddr=a, protocol=p, port=n, packets=c) for (a, p, n), c in packets.items()
    ]
    return PacketCount(packets=sum(packets.values()), refused=tuple(refused))


@given(st.dictionaries(KEYS, st.integers(1, 9)), st.dictionaries(KEYS, st.integers(1, 9)))
def test_what_came_since_a_snapshot_is_exactly_the_difference(first, later):
    both = {key: first.get(key, 0) + later.get(key, 0) for key in first | later}
    difference = count_of(both).since(count_of(first))
    assert difference.packets == sum(later.values())
    assert {(r.daddr, r.protocol, r.port): r.packets for r in difference.refused} == later


def test_the_rules_drop_by_default_in_every_direction():
    rules = nft.ruleset()
    assert rules.count("policy drop;") == 3
    assert "policy accept" not in rules
