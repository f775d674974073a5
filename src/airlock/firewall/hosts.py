"""Which hosts a window is opened for: names and ports out of the settings, never addresses, never wildcards."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from airlock.core.errors import UsageError
from airlock.core.settings import FactoryFile
from airlock.evidence.window import OpenHost

MAX_HOSTS = 256
UNNAMED = "unnamed.airlock.invalid"
"""What a proof asks for, and nobody else: no record tells of it as refused."""
_PORTS = {"http": 80, "https": 443}
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")
_PRIVATE4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
    "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
)  # fmt: skip
_PRIVATE6 = ("::/96", "64:ff9b:1::/48", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8")
_CARRIERS = (("64:ff9b::", 96), ("2002::", 16))  # IPv6 that carries IPv4: NAT64 (RFC 6052), 6to4 (RFC 3056)


def _private() -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    for text in _PRIVATE4:
        network = ipaddress.IPv4Network(text)
        yield network
        for carrier, length in _CARRIERS:
            carried = int(network.network_address) << (128 - length - 32)
            yield ipaddress.IPv6Network((int(ipaddress.IPv6Address(carrier)) | carried, length + network.prefixlen))
    yield from map(ipaddress.IPv6Network, _PRIVATE6)


PRIVATE = tuple(_private())


class Wanted(msgspec.Struct, frozen=True):
    """What the upstreams in use take.

    Attributes:
        hosts: to be opened, sorted.
        named: (name, port) that requests may be for: the same, but where a proxy stands between.
        local: ports of upstreams on this machine's loopback, which no window concerns.
        notes: what the record should say besides.
    """

    hosts: tuple[OpenHost, ...]
    named: frozenset[tuple[str, int]] = frozenset()
    local: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()

    @property
    def places(self) -> frozenset[tuple[str, int]]:
        """(name, port) of each host."""
        return frozenset((host.name, host.port) for host in self.hosts)


def wanted(addresses: Mapping[str, str], settings: FactoryFile) -> Wanted:
    """The hosts that upstreams take: their addresses' own, those that the settings say they redirect to, and
    ``[window] hosts``; where this machine's environment names a proxy for an address, the proxy.

    Args:
        addresses: of the upstreams in use, by name.

    Raises:
        UsageError: a host is an address, a wildcard or no name at all; the message says where it stands.
    """
    found: dict[tuple[str, int], set[str]] = {}
    named: set[tuple[str, int]] = set()
    local: set[int] = set()
    notes: list[str] = []
    for name, address in sorted(addresses.items()):
        where = f"the upstream {name}"
        theirs = urlsplit(address)
        named.add(((theirs.hostname or "").rstrip("."), theirs.port or _PORTS.get(theirs.scheme, 443)))
        # squid goes through the machine's own proxy itself, and what is named are the upstreams.
        url = theirs if settings.window.backend == "squid" else urlsplit(_through_proxy(address))
        if url.netloc != theirs.netloc:
            notes.append(f"{where} is reached through the proxy {url.hostname}:{url.port}, which decides about names")
        port = url.port or _PORTS.get(url.scheme, 443)
        if is_loopback(url.hostname or ""):
            local.add(port)
        else:
            found.setdefault((check_name(url.hostname or "", where), port), set()).add(name)
        if name in settings.upstreams:
            for text in settings.upstreams[name].hosts:
                found.setdefault(parse_host(text, f"[upstreams.{name}] hosts", port), set()).add(name)
    for text in settings.window.hosts:
        found.setdefault(parse_host(text, "[window] hosts"), set())
    if len(found) > MAX_HOSTS:
        raise UsageError(f"{len(found)} hosts are more than a window is opened for ({MAX_HOSTS})")
    hosts = [OpenHost(name=name, port=port, upstreams=sorted(by)) for (name, port), by in sorted(found.items())]
    return Wanted(tuple(hosts), frozenset(named | set(found)), frozenset(local), tuple(dict.fromkeys(notes)))


def only(all_of_them: Wanted, texts: Iterable[str]) -> Wanted:
    """A part of what is wanted, by name.

    Raises:
        UsageError: a host that the settings do not name.
    """
    chosen: dict[tuple[str, int], OpenHost] = {}
    for text in texts:
        name, port = parse_host(text, "--host", 0)
        known = [host for host in all_of_them.hosts if host.name == name and port in (0, host.port)]
        if not known:
            raise UsageError(
                f"--host {text}: the settings do not name this host for any upstream in use",
                remedy=f'Add it in factory.toml: [window] hosts = ["{text}"]',
            )
        chosen |= {(host.name, host.port): host for host in known}
    return msgspec.structs.replace(all_of_them, hosts=tuple(host for _, host in sorted(chosen.items())))


def parse_host(text: str, where: str, port: int = 443) -> tuple[str, int]:
    """``name`` or ``name:port``.

    Raises:
        UsageError: it is neither.
    """
    name, colon, digits = text.partition(":")
    if colon and ":" not in digits:
        if not digits.isdigit() or not 0 < int(digits) < 65536:
            raise UsageError(f"{where}: {text!r} is not name:port", remedy="A port is a number from 1 to 65535.")
        return check_name(name, where), int(digits)
    return check_name(text, where), port


def check_name(name: str, where: str) -> str:
    """A host's name, in lower case without the last dot.

    Raises:
        UsageError: an address, a wildcard, or no name.
    """
    plain = name.lower().rstrip(".")
    if _address(plain):
        raise UsageError(
            f"{where}: {name} is an address, and a window is opened for names alone",
            remedy="Give the host a name (in DNS, or in this machine's /etc/hosts), and name that.",
        )
    if "*" in plain or name.startswith("."):
        raise UsageError(f"{where}: {name!r} is a wildcard", remedy="Name each host: one window, one list of names.")
    if not plain or len(plain) > 253 or not all(_LABEL.match(label) for label in plain.split(".")):
        raise UsageError(f"{where}: {name!r} is not the name of a host")
    return plain


def is_loopback(name: str) -> bool:
    """Whether a host of a URL is this machine itself."""
    address = _address(name)
    return name.lower() == "localhost" or (address is not None and address.is_loopback)


def is_private(text: str) -> bool:
    """Whether an address is loopback, link-local, private, multicast or otherwise nobody's on the internet; also
    where IPv6 carries such an IPv4 address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in PRIVATE if network.version == address.version)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _through_proxy(address: str) -> str:
    """The proxy that this machine's environment names for an address, or the address."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.hostname or ""):
        return address
    return proxy if "://" in proxy else f"http://{proxy}"
