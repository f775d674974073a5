"""nft(8) on one table: loading, opening, and what the kernel itself says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from airlock.core.errors import StateError, ToolError, WindowError
from airlock.core.netns import NETNS_DIRECTORY
from airlock.core.process import find_tool, last_lines, run
from airlock.firewall.rules import MARKER
from airlock.firewall.selection import Selection, cgroup_root

_BIND = 'mount --bind "$1" /sys/fs/cgroup && shift && exec "$@"'
_PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 47: "gre", 58: "ipv6-icmp", 132: "sctp", 136: "udplite",
}  # fmt: skip


class Counted(msgspec.Struct, frozen=True):
    """Packets and bytes of one place."""

    packets: int
    bytes: int


class TableState(msgspec.Struct, frozen=True, kw_only=True):
    """A table as the kernel lists it.

    Attributes:
        gate: seconds (whole) until the gate closes; None while it is closed.
        places: (address, port) that are open now.
        begun, sent, received: by (address, port).
        refused: packets by (address, protocol, port).
        packets: all that were refused.
    """

    gate: int | None
    places: frozenset[tuple[str, int]]
    begun: dict[tuple[str, int], Counted]
    sent: dict[tuple[str, int], Counted]
    received: dict[tuple[str, int], Counted]
    refused: dict[tuple[str, str, int], Counted]
    packets: int


class Nft:
    """nft in the network namespace that a selection is of."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._nft = find_tool("nft", "nftables")
        self._prefix: list[str | Path] = []
        if selection.namespace:
            self._prefix = [find_tool("nsenter", "util-linux"), f"--net={NETNS_DIRECTORY / selection.namespace}", "--"]

    def apply(self, text: str) -> None:
        """Run commands in one transaction.

        Raises:
            WindowError: nft or the kernel refuses them.
        """
        seeing = _seeing_cgroups() if "cgroupv2" in text else []
        command: list[str | Path] = [*self._prefix, *seeing, self._nft, "-f", "-"]
        result = run(command, data=text.encode())
        if result.returncode != 0:
            words = last_lines(result)
            if "Operation not permitted" in words:
                raise ToolError(
                    "packet rules can be changed by root alone", remedy="Run the same command as root (sudo)."
                )
            raise WindowError(
                f"nft refused the window's rules: {words}",
                remedy="Does the kernel have nf_tables with sets and reject?",
            )

    def state(self, table: str) -> TableState | None:
        """The table; None where there is none.

        Raises:
            StateError: a table of this name is somebody else's.
            WindowError: nft cannot list it.
        """
        result = run([*self._prefix, self._nft, "-j", "-n", "list", "table", "inet", table])
        if result.returncode != 0:
            words = last_lines(result)
            if "No such file" in words:
                return None
            if "Operation not permitted" in words:
                raise ToolError("packet rules can be read by root alone", remedy="Run the same command as root (sudo).")
            raise WindowError(f"nft cannot list the table inet {table}: {words}")
        return parse(result.stdout, table)

    def require(self, table: str) -> None:
        """The table is there: whoever reloads the machine's own rules may flush all of them.

        Raises:
            WindowError: it is gone, or was replaced by one that is not ours.
        """
        result = run([*self._prefix, self._nft, "list", "chain", "inet", table, MARKER])
        if result.returncode != 0:
            raise WindowError(
                f"the window's packet rules, table inet {table}, were removed by somebody else while it was open",
                remedy="Keep whatever reloads this machine's rules from flushing those of others; then run it again.",
            )

    def remove(self, table: str) -> None:
        """Remove the table: nothing is confined any more. Absent is fine."""
        self.apply(f"table inet {table} {{ }}\ndelete table inet {table}\n")


def _seeing_cgroups() -> list[str | Path]:
    """nft looks for control groups in /sys/fs/cgroup: where cgroup2 is elsewhere, it gets a view of its own."""
    root = cgroup_root()
    if root is None or root == Path("/sys/fs/cgroup"):
        return []
    unshare = find_tool("unshare", "util-linux")
    return [unshare, "--mount", "--propagation", "private", "--", "/bin/sh", "-c", _BIND, "sh", root]


def parse(data: bytes, table: str) -> TableState:
    """Read ``nft -j list table`` output (libnftables-json(5)).

    Raises:
        StateError: the table is not one of ours.
        WindowError: the shape is another.
    """
    try:
        items = msgspec.json.decode(data)["nftables"]
        chains = {item["chain"]["name"] for item in items if "chain" in item}
        sets = {item["set"]["name"]: item["set"].get("elem", []) for item in items if "set" in item}
        if MARKER not in chains:
            raise StateError(
                f"there is a table inet {table} that Airlock did not make",
                remedy=f"See what it is (nft list table inet {table}), and rename or remove it.",
            )
        gate = [element["elem"]["expires"] for element in sets["gate"]]
        packets = next(item["counter"]["packets"] for item in items if "counter" in item)
        return TableState(
            gate=max(gate) if gate else None,
            places=frozenset(_place(element["elem"]["val"]) for v in "46" for element in sets[f"open{v}"]),
            begun=_counters(sets, "begun"),
            sent=_counters(sets, "sent"),
            received=_counters(sets, "received"),
            refused=_refused(sets),
            packets=packets,
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
        raise WindowError(f"nft's answer is not understood: {error!r}") from None


def _place(value: dict[str, Any]) -> tuple[str, int]:
    address, port = value["concat"]
    return str(address), int(port)


def _counters(sets: dict[str, Any], name: str) -> dict[tuple[str, int], Counted]:
    return {
        _place(element["elem"]["val"]): Counted(
            element["elem"]["counter"]["packets"], element["elem"]["counter"]["bytes"]
        )
        for v in "46"
        for element in sets[f"{name}{v}"]
    }


def _refused(sets: dict[str, Any]) -> dict[tuple[str, str, int], Counted]:
    found = {}
    for name in ("ports4", "ports6", "others4", "others6"):
        for element in sets[name]:
            address, protocol, *port = element["elem"]["val"]["concat"]
            counter = element["elem"]["counter"]
            key = (str(address), _PROTOCOLS.get(protocol, str(protocol)), int(port[0]) if port else 0)
            found[key] = Counted(counter["packets"], counter["bytes"])
    return found
