"""The packet rules of a window, as text for ``nft -f``.

Every packet is matched against sets whose elements the kernel forgets by itself: `gate` is the window's time, `open4`
and `open6` are addresses with a time to live of their own. There is no rule for established flows: when the gate has
closed, the next packet of whatever flow is refused. Set timeouts run on the kernel's monotonic clock, so that a clock
that is set forward or back opens nothing.

Loopback: what is confined may speak to itself, to the window's resolver and to upstreams on this machine. A service of
somebody else on loopback may forward, so a control group's packets are marked where they leave and must find a socket
of the same group, or one of those ports, where they arrive.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import msgspec

from airlock.core.digest import sha256_bytes
from airlock.firewall.selection import Selection

MARKER = "airlock_window"  # a chain that does nothing: the table is ours
SIZE = 16384  # destinations that are told apart
_PORTS = "{ tcp, udp, udplite, sctp, dccp }"
_NEIGHBOURS = "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report }"
_LOOPBACK = (("ip", "127.0.0.1"), ("ip6", "::1"))
_V = {"4": ("ip", "ipv4_addr", "ipv4"), "6": ("ip6", "ipv6_addr", "ipv6")}


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """One table.

    Attributes:
        table: its name; family inet.
        resolver: port of the window's resolver; 0 while it is closed: then no name is answered.
        local: ports on loopback that may be spoken to.
        keeper: control group of the process that keeps the window and asks name servers; where the whole machine is
            confined.
    """

    table: str
    selection: Selection
    resolver: int = 0
    local: frozenset[int] = frozenset()
    keeper: str = ""

    @property
    def mark(self) -> str:
        """On packets between sockets of this machine: this table's own, or another factory's would judge them, too."""
        return f"0x41{sha256_bytes(self.table.encode())[:6]}"

    def text(self) -> str:
        """The whole table, in place of one of that name, in one transaction; closed."""
        parts = [*_sets(), *_judging(self), *_output(self), *_input(self)]
        if self.selection.forwards:
            parts += _forward(self)
        if self.resolver:
            parts += _names(self)
        body = "\n".join(f"  {line}" for part in parts for line in part.splitlines())
        return (
            f"table inet {self.table} {{ }}\ndelete table inet {self.table}\ntable inet {self.table} {{\n{body}\n}}\n"
        )

    def opened(self, seconds: float) -> str:
        """What opens the gate for that long."""
        return f"add element inet {self.table} gate {{ tcp timeout {_time(seconds)} }}\n"

    def admitted(self, places: Iterable[tuple[str, int]], seconds: float) -> str:
        """What lets packets to (address, port) pass for that long, whatever was left of the time they had."""
        lines = []
        for address, port in places:
            name = f"open{ipaddress.ip_address(address).version}"
            element = f"inet {self.table} {name} {{ {address} . {port}"
            lines += [f"add element {element} timeout 1s }}", f"delete element {element} }}"]
            lines += [f"add element {element} timeout {_time(seconds)} }}"]
        return "".join(f"{line}\n" for line in lines)

    def forgotten(self) -> str:
        """What forgets the refusals so far."""
        sets = [f"{name}{v}" for name in ("ports", "others") for v in _V]
        return "".join(
            [f"reset counter inet {self.table} refused\n", *(f"flush set inet {self.table} {s}\n" for s in sets)]
        )


def _time(seconds: float) -> str:
    return f"{max(int(seconds * 1000), 1)}ms"


def _sets() -> list[str]:
    counted = f"size {SIZE}; flags dynamic;"
    lines = [
        f"chain {MARKER} {{ }}",
        "counter refused { }",
        "set gate { type inet_proto; flags timeout; }",
    ]
    for v, (_, kind, _) in _V.items():
        lines += [
            f"set open{v} {{ type {kind} . inet_service; size {SIZE}; flags timeout; }}",
            *(f"set {name}{v} {{ type {kind} . inet_service; {counted} }}" for name in ("begun", "sent", "received")),
            f"set ports{v} {{ type {kind} . inet_proto . inet_service; {counted} }}",
            f"set others{v} {{ type {kind} . inet_proto; {counted} }}",
        ]
    return ["\n".join(lines)]


def _judging(rules: Rules) -> list[str]:
    """What becomes of a packet that is confined: counted and let through, or counted and refused."""
    out, refuse, judge = [], [], []
    for v, (ip, _, family) in _V.items():
        only = f"meta nfproto {family}"
        out += [
            f"{only} tcp flags & (syn | ack) == syn update @begun{v} {{ {ip} daddr . th dport counter }}",
            f"{only} update @sent{v} {{ {ip} daddr . th dport counter }}",
        ]
        refuse += [
            f"{only} meta l4proto {_PORTS} update @ports{v} {{ {ip} daddr . meta l4proto . th dport counter }}",
            f"{only} meta l4proto != {_PORTS} update @others{v} {{ {ip} daddr . meta l4proto counter }}",
        ]
        judge.append(f"meta l4proto @gate {ip} daddr . th dport @open{v} goto let_out")
    chains = {
        "let_out": [*out, "accept"],
        "refuse": [
            "counter name refused",
            *refuse,
            "meta l4proto tcp reject with tcp reset",
            "reject with icmpx admin-prohibited",
        ],
        "confined": [*judge, "goto refuse"],
    }
    return [_chain(name, lines) for name, lines in chains.items()]


def _output(rules: Rules) -> list[str]:
    selection = rules.selection
    parts, jumps = [], []
    # A question for a name server that was turned to the resolver is on its way to loopback, by another interface yet.
    names = [f"{ip} daddr {at} th dport {rules.resolver} accept" for ip, at in _LOOPBACK] if rules.resolver else []
    if selection.levels:
        parts.append(_chain("group", [*names, f"oif lo meta mark set {rules.mark} accept", "goto confined"]))
        jumps += [f'socket cgroupv2 level {level} "{path}" goto group' for level, path in selection.levels]
    if selection.users:
        # Who receives on loopback cannot be told of a user's packets: they pass, but for questions of names.
        parts.append(_chain("user", [*names, "oif lo th dport != 53 accept", "goto confined"]))
        jumps.append(f"meta skuid {_set(map(str, selection.users))} goto user")
    if selection.whole:
        lines = [*names, "oif lo accept", f"icmpv6 type {_NEIGHBOURS} accept"]
        if rules.keeper:
            lines.append(f'socket cgroupv2 level 1 "{rules.keeper}" th dport 53 accept')
        if selection.machine:  # what others ask of this machine (ssh) is answered
            lines.append("ct direction reply accept")
        parts.append(_chain("whole", [*lines, "goto confined"]))
        jumps.append("goto whole")
    return [*parts, _hook("output", "filter", "output", "0", jumps)]


def _input(rules: Rules) -> list[str]:
    parts, lines = [], []
    if rules.selection.levels:
        ports = {*rules.local, *({rules.resolver} if rules.resolver else set())}
        inward = [f"th dport {_set(map(str, sorted(ports)))} accept"] if ports else []
        inward += [f'socket cgroupv2 level {level} "{path}" accept' for level, path in rules.selection.levels]
        # A handshake's later packets find no whole socket; without its first one they lead nowhere.
        inward += ["tcp flags & (fin | syn | rst | ack) != syn accept", "goto refuse"]
        parts.append(_chain("inward", inward))
        lines.append(f"iif lo meta mark {rules.mark} goto inward")
    whose = [""]
    if rules.selection.groups_only:  # others on this machine may speak to the same hosts
        whose = [f'socket cgroupv2 level {level} "{path}" ' for level, path in rules.selection.levels]
    for v, (ip, _, _) in _V.items():
        place = f"{ip} saddr . th sport"
        for who in whose:
            lines.append(f"iif != lo {place} @open{v} {who}update @received{v} {{ {place} counter }}")
    return [*parts, _hook("input", "filter", "input", "0", lines)]


def _forward(rules: Rules) -> list[str]:
    back = []
    for v, (ip, _, _) in _V.items():
        place = f"{ip} saddr . th sport"
        back.append(f"meta l4proto @gate {place} @open{v} update @received{v} {{ {place} counter }} accept")
    back += ["meta l4proto { icmp, ipv6-icmp } ct state related accept", "drop"]
    return [
        _chain("back", back),
        _hook(
            "forward", "filter", "forward", "0",
            [*(f"{words} goto confined" for words in _from(rules.selection)),
             *(f"{words} goto back" for words in _from(rules.selection, back=True))],
        ),
    ]  # fmt: skip


def _names(rules: Rules) -> list[str]:
    """Whatever name server a confined packet is for, the window's own resolver gets it."""
    ask = f"meta l4proto {{ tcp, udp }} th dport 53 redirect to :{rules.resolver}"
    selection = rules.selection
    lines = [f'socket cgroupv2 level {level} "{path}" {ask}' for level, path in selection.levels]
    if selection.users:
        lines.append(f"meta skuid {_set(map(str, selection.users))} {ask}")
    if selection.whole:
        lines += [f'socket cgroupv2 level 1 "{rules.keeper}" accept'] if rules.keeper else []
        lines.append(ask)
    parts = [_hook("names_output", "nat", "output", "-100", lines)]
    if selection.forwards:
        asking = [f"{words} {ask}" for words in _from(selection)]
        parts.append(_hook("names_forward", "nat", "prerouting", "-100", asking))
    return parts


def _from(selection: Selection, *, back: bool = False) -> list[str]:
    """Matches of packets that come from (or go back to) what is forwarded."""
    words = [f"{'oifname' if back else 'iifname'} {_set(f'{chr(34)}{n}{chr(34)}' for n in selection.interfaces)}"]
    found = words if selection.interfaces else []
    for version, (ip, _, _) in _V.items():
        subnets = [text for text in selection.subnets if (":" in text) == (version == "6")]
        if subnets:
            found.append(f"{ip} {'daddr' if back else 'saddr'} {_set(subnets)}")
    return found


def _set(words: Iterable[str]) -> str:
    return f"{{ {', '.join(words)} }}"


def _chain(name: str, lines: list[str]) -> str:
    return "\n".join([f"chain {name} {{", *(f"  {line}" for line in lines), "}"])


def _hook(name: str, kind: str, hook: str, priority: str, lines: list[str]) -> str:
    return _chain(name, [f"type {kind} hook {hook} priority {priority}; policy accept;", *lines])
