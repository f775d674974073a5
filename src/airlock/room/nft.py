"""The rules in the room: nothing but loopback passes; all else is counted by destination and refused at once.

Measured: without a route ``connect`` fails before netfilter and nothing is counted, so the room routes everything to
``lo`` and the output hook refuses it. The reject answers come back to a loopback address and pass as such.
"""

from __future__ import annotations

from typing import Any

import msgspec

from airlock.core.errors import RoomError
from airlock.core.process import find_tool, last_lines, run
from airlock.room.report import PacketCount, RefusedPackets

TABLE = "airlock"
_WITH_PORTS = "{ tcp, udp, udplite, sctp, dccp }"
_SETS = {"ports4": "ipv4", "ports6": "ipv6", "others4": "ipv4", "others6": "ipv6"}


def ruleset(set_size: int = 65535) -> str:
    """The whole table as text for ``nft -f``. ``set_size`` bounds how many destinations are named apart."""
    flags = f"size {set_size}; flags dynamic;"
    return f"""table inet {TABLE} {{
  counter refused {{ }}
  set ports4 {{ type ipv4_addr . inet_proto . inet_service; {flags} }}
  set ports6 {{ type ipv6_addr . inet_proto . inet_service; {flags} }}
  set others4 {{ type ipv4_addr . inet_proto; {flags} }}
  set others6 {{ type ipv6_addr . inet_proto; {flags} }}
  chain output {{
    type filter hook output priority 0; policy drop;
    oif lo ip daddr 127.0.0.0/8 accept
    oif lo ip6 daddr ::1 accept
    counter name refused
    meta nfproto ipv4 meta l4proto {_WITH_PORTS} add @ports4 {{ ip daddr . meta l4proto . th dport counter }}
    meta nfproto ipv6 meta l4proto {_WITH_PORTS} add @ports6 {{ ip6 daddr . meta l4proto . th dport counter }}
    meta nfproto ipv4 meta l4proto != {_WITH_PORTS} add @others4 {{ ip daddr . meta l4proto counter }}
    meta nfproto ipv6 meta l4proto != {_WITH_PORTS} add @others6 {{ ip6 daddr . meta l4proto counter }}
    meta l4proto tcp reject with tcp reset
    reject with icmpx admin-prohibited
  }}
  chain input {{
    type filter hook input priority 0; policy drop;
    iif lo accept
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
  }}
}}
"""


def load(prefix: list[str]) -> None:
    """Load the rules; ``prefix`` runs a command in the room's network namespace.

    Raises:
        RoomError: nft refused them.
        ToolError: there is no nft.
    """
    find_tool("nft", "nftables")
    result = run([*prefix, "nft", "-f", "-"], data=ruleset().encode())
    if result.returncode != 0:
        raise RoomError(
            f"the sealed room's packet rules could not be loaded: {last_lines(result)}",
            remedy="The kernel needs nf_tables with the inet family, dynamic sets and reject, as Debian's have.",
        )


def read(prefix: list[str]) -> PacketCount:
    """What has been refused so far.

    Raises:
        RoomError: the counters cannot be read, so nothing could be claimed about the room.
    """
    result = run([*prefix, "nft", "-j", "-n", "list", "table", "inet", TABLE])
    if result.returncode != 0:
        raise RoomError(f"the sealed room's packet counters cannot be read: {last_lines(result)}")
    return parse(result.stdout)


def parse(data: bytes) -> PacketCount:
    """Read ``nft -j list table`` output (libnftables-json(5)) of the table above.

    Raises:
        RoomError: the counter is missing or the shape is another.
    """
    total: int | None = None
    refused: list[RefusedPackets] = []
    try:
        for item in msgspec.json.decode(data)["nftables"]:
            if (counter := item.get("counter")) and counter["name"] == "refused":
                total = counter["packets"]
            elif (found := item.get("set")) and found["name"] in _SETS:
                refused += [_element(element["elem"], _SETS[found["name"]]) for element in found.get("elem", ())]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise RoomError(f"nft's answer is not understood: {error!r}") from error
    if total is None:
        raise RoomError("the sealed room's packet counter is gone: something changed the rules in the room")
    refused.sort(key=lambda r: (r.family, r.daddr, r.protocol, r.port or 0))
    return PacketCount(packets=total, refused=tuple(refused))


def _element(element: dict[str, Any], family: Any) -> RefusedPackets:
    daddr, protocol, *port = element["val"]["concat"]
    return RefusedPackets(
        family=family,
        daddr=daddr,
        protocol=_PROTOCOLS.get(protocol, str(protocol)),
        port=int(port[0]) if port else None,
        packets=element["counter"]["packets"],
    )


_PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 58: "ipv6-icmp", 132: "sctp", 136: "udplite",
}  # fmt: skip
