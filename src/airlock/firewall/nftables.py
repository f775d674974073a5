"""The backend ``nftables``: addresses of the named hosts, let through by the kernel of the machine that crosses."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket

from airlock.core.errors import WindowError
from airlock.core.process import find_tool, run
from airlock.evidence.ledger import utc_now
from airlock.evidence.window import Contact, RefusedAttempt, Resolved, WindowRecord
from airlock.firewall.confine import in_namespace
from airlock.firewall.model import Entrance, Order
from airlock.firewall.nft import Counted, Nft, TableState
from airlock.firewall.resolver import Found, Resolver, bind
from airlock.firewall.rules import Rules
from airlock.firewall.selection import Selection, cgroup_root, make_cgroup

_LOOPBACK = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
CANNOT_PROVE = [
    "It enforces addresses and ports, not names: what else is served at a named host's address was reachable, too.",
    "What Airlock speaks to over unix sockets is not confined by packet rules.",
    "A process with root's rights could change the rules, or send packets past them (AF_PACKET).",
]


class Nftables:
    """See ``firewall.model.Backend``."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._nft = Nft(order.selection)
        self._rules = Rules(table=order.table, selection=order.selection, local=order.local)
        self._resolver: Resolver | None = None
        self._admitted: dict[tuple[str, str], str] = {}  # (name, address) → when first
        self._opened = False
        self._fresh = False  # nothing was counted since it was last forgotten

    async def open(self, seconds: float) -> Entrance:
        """See ``Backend``: resolver first, then rules, gate and addresses in one transaction."""
        order = self._order
        before = self._nft.state(order.table)  # somebody else's table is not touched
        order.record.refused_while_closed = before.packets if before else 0
        order.record.cannot_prove = [*CANNOT_PROVE, *_limits(order.selection)]
        self._resolver = Resolver(
            {name for name, _ in order.places},
            private=order.settings.private,
            limit=order.settings.max_addresses,
            nameservers=order.settings.nameservers,
            admit=self._admit,
        )
        found = await self._resolver.find_all()
        order.record.notes += [f"{name} had no address when the window opened" for name in self._without(found)]
        addresses = _LOOPBACK | _listening(order.selection)
        port, datagrams, streams = in_namespace(order.selection.namespace, lambda: bind(addresses))
        await self._resolver.start(datagrams, streams)
        self._rules = closed_rules(order, resolver=port)
        text = self._rules.text() + self._rules.opened(seconds)
        for name, one in found.items():
            text += self._text(name, one.addresses, one.seconds)
        await asyncio.to_thread(self._nft.apply, text)
        self._opened = True
        return entrance(order.selection, resolver=True)

    async def tend(self) -> None:
        """See ``Backend``."""
        assert self._resolver is not None
        await asyncio.to_thread(self._nft.require, self._order.table)
        await self._resolver.renew()

    def begin(self) -> None:
        """See ``Backend``."""
        self._nft.apply(self._rules.forgotten())
        self._fresh = True

    async def close(self) -> None:
        """See ``Backend``: the closed rules in place of the open ones, in one transaction."""
        if self._opened or self._nft.state(self._order.table) is not None:
            self._rules = closed_rules(self._order)
            await asyncio.to_thread(self._nft.apply, self._rules.text())
        if self._resolver is not None:
            await self._resolver.stop()

    def is_open(self) -> bool:
        """See ``Backend``."""
        state = self._nft.state(self._order.table)
        return state is not None and state.gate is not None

    def tell(self, record: WindowRecord) -> None:
        """See ``Backend``."""
        if self._resolver is not None:
            record.addresses = [
                Resolved(name=name, address=address, first=first)
                for (name, address), first in sorted(self._admitted.items())
            ]
            record.refused_names = sorted(self._resolver.refused)
            record.notes += [note for note in self._resolver.notes if note not in record.notes]
        fresh, self._fresh = self._fresh, False
        state = None if fresh else self._nft.state(self._order.table)
        if state is not None:
            tell_counters(record, state)

    def _without(self, found: dict[str, Found]) -> list[str]:
        return sorted({name for name, _ in self._order.places} - set(found))

    def _admit(self, name: str, addresses: tuple[str, ...], seconds: float) -> None:
        self._nft.apply(self._text(name, addresses, seconds))

    def _text(self, name: str, addresses: tuple[str, ...], seconds: float) -> str:
        for address in addresses:
            self._admitted.setdefault((name, address), utc_now())
        ports = [port for host, port in self._order.places if host == name]
        return self._rules.admitted([(address, port) for address in addresses for port in ports], seconds)


def closed_rules(order: Order, *, resolver: int = 0, local: frozenset[int] = frozenset()) -> Rules:
    """The table's rules; the control groups that they name are made."""
    if order.selection.own:
        make_cgroup(order.selection.own)
    keeper = ""
    if order.selection.machine and cgroup_root() is not None:
        keeper = f"{order.table}-keeper"
        (make_cgroup(keeper) / "cgroup.procs").write_text(str(os.getpid()))
    return Rules(
        table=order.table, selection=order.selection, resolver=resolver, local=order.local | local, keeper=keeper
    )


def entrance(selection: Selection, *, resolver: bool, environment: dict[str, str] | None = None) -> Entrance:
    """How Airlock's own processes get to where these rules confine them."""
    return Entrance(
        cgroup=selection.own, namespace=selection.namespace, environment=environment or {}, resolver=resolver
    )


def tell_counters(record: WindowRecord, state: TableState) -> None:
    """Write what the kernel counted into a record; whose address it is comes from the record's addresses."""
    names: dict[str, set[str]] = {}
    for resolved in record.addresses:
        names.setdefault(str(ipaddress.ip_address(resolved.address)), set()).add(resolved.name)
    ports = {(host.name, host.port) for host in record.hosts}
    none = Counted(0, 0)
    record.contacts = [
        Contact(
            hosts=sorted(name for name in names.get(place[0], ()) if (name, place[1]) in ports),
            address=place[0],
            port=place[1],
            connections=state.begun.get(place, none).packets,
            sent=state.sent.get(place, none).bytes,
            received=state.received.get(place, none).bytes,
        )
        for place in sorted({*state.begun, *state.sent, *state.received})
    ]
    record.refused = [
        RefusedAttempt(to=address, protocol=protocol, port=port, count=counted.packets)
        for (address, protocol, port), counted in sorted(state.refused.items())
    ]


def _limits(selection: Selection) -> list[str]:
    """What a choice of traffic leaves open, for the record."""
    found = []
    if selection.users:
        found.append("A user's packets to services on this machine's own loopback pass: one of them may forward.")
    if not selection.groups_only and not selection.namespace:
        found.append("Bytes received are those of the named hosts' addresses, whoever on this machine asked for them.")
    if selection.forwards:
        found.append("What is refused to containers was not tried from here, but from Airlock's own processes at most.")
        found.append("Containers may ask a resolver of their engine's, which is a process of this machine.")
    return found


def _listening(selection: Selection) -> dict[str, int]:
    """This machine's addresses where containers are, at which the resolver has to listen for them."""
    if not selection.forwards:
        return {}
    result = run([find_tool("ip", "iproute2"), "-j", "address"], check=True)
    subnets = [ipaddress.ip_network(text) for text in selection.subnets]
    found: dict[str, int] = {}
    for link in json.loads(result.stdout):
        for entry in link.get("addr_info", ()):
            address = ipaddress.ip_address(entry["local"])
            near = link["ifname"] in selection.interfaces or any(
                address in subnet for subnet in subnets if subnet.version == address.version
            )
            if near and not address.is_link_local:
                found[str(address)] = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return found


def require_table(order: Order) -> None:
    """Load the closed rules where they are missing (after a reboot), so that nothing of what is confined gets out.

    Raises:
        StateError: somebody else's table has the name.
        WindowError: they cannot be loaded.
    """
    nft = Nft(order.selection)
    if nft.state(order.table) is None:
        nft.apply(closed_rules(order).text())
    if nft.state(order.table) is None:
        raise WindowError(f"the table inet {order.table} is not there after it was loaded")
