"""The demo's firewall window: a network namespace with a way out for nftables to close, else squid. Never none.

``python -m demo.window up FACTORY`` makes the namespace and writes FACTORY/factory.toml; ``told FACTORY SINCE`` says in
a line what was reachable since (UTC, as records have it); ``down`` removes what ``up`` made outside of the factory.
Which hosts the package index leads to is asked of the index itself, as this machine's pip and uv are configured.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import AirlockError, WindowError
from airlock.core.files import write_file
from airlock.core.settings import FactoryFile, FetchTable
from airlock.evidence.window import WindowRecord, read_windows
from airlock.fetch.http import TRANSIENT, below, request_url, session
from airlock.fetch.simple import ACCEPT, MAX_PAGE, parse_page
from airlock.fetch.upstreams import python_index
from airlock.firewall.hosts import is_private, wanted
from airlock.firewall.selection import cgroup_root
from demo.steps import ROOT

NAMESPACE = "airlock-demo-factory"
TABLE = "airlock-demo-way-out"
OUTER, INNER = "10.213.77.1", "10.213.77.2"
DEVICES = ("aldemo0", "aldemo1")
STATE = Path("/run/airlock-demo-window.json")
PROJECT = "kolla"  # whose page is asked where its files are
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


class Chosen(msgspec.Struct, frozen=True):
    """A window that can be had here.

    Attributes:
        words: for whoever watches the demo.
    """

    backend: str
    confine: str
    words: str


def up(factory: Path) -> None:
    """Make the namespace, or do without; write the settings; say which it is."""
    chosen = _namespace()
    print(f"   the window: {chosen.words}")
    write_file(factory / "factory.toml", table(chosen).encode())


def told(factory: Path, since: str) -> str:
    """What was reachable, in a line."""
    records = [record for record in read_windows(factory / "windows") if record.opened >= since]
    if not records:
        return "no window was opened: nothing was missing"
    hosts = sorted({f"{host.name}:{host.port}" for record in records for host in record.hosts})
    refused = sum(attempt.count for record in records for attempt in record.refused)
    proofs = [proof.held for record in records for proof in record.proof]
    proved = "proved closed" if proofs and all(proofs) and _closed(records) else "NOT proved closed"
    return (
        f"the window: {', '.join(sorted({record.backend for record in records}))} let {', '.join(hosts)} be reached, "
        f"opened {len(records)} times; {refused} packets were refused; {proved}"
    )


def here() -> Chosen:
    """For a factory whose servers are on this machine's loopback: its own processes, by packet rules, else squid."""
    if trouble := _no_nft():
        return _squid(trouble)
    if cgroup_root() is None:
        return _squid("this machine has no cgroup2")
    return Chosen("nftables", "airlock", "nftables closes the way to lock and refresh, which have a control group")


def table(chosen: Chosen) -> str:
    """``[window]`` for factory.toml."""
    index = python_index()
    hosts = asyncio.run(_linked_hosts(index))
    names = {urlsplit(index).hostname or "", *(host.rpartition(":")[0] for host in hosts), *_apt_hosts()}
    lines = [
        "[window]",
        f'backend = "{chosen.backend}"',
        f"confine = {json.dumps([chosen.confine])}",
        "minutes = 120",
        f"hosts = {json.dumps(hosts)}",
        f"private = {json.dumps(sorted(name for name in names if _inside(name)))}",
    ]
    return "".join(f"{line}\n" for line in lines)


def down() -> None:
    """Remove all that ``up`` made outside of the factory."""
    _run("nft", "delete", "table", "ip", TABLE)
    _run("ip", "netns", "delete", NAMESPACE)
    _run("ip", "link", "delete", DEVICES[0])
    if STATE.exists():
        for place, value in json.loads(STATE.read_text()).items():
            if Path(place).exists():
                Path(place).write_text(value)
        STATE.unlink()


def _namespace() -> Chosen:
    trouble = _no_nft() or _make_way_out()
    if not trouble:
        first = next(iter(wanted({"pypi": python_index()}, FactoryFile()).hosts), None)
        if first is None or not _reaches(first.name, first.port):
            trouble = "a network namespace has no way out here"
    if trouble:
        down()
        return _squid(trouble)
    words = f"nftables closes the network namespace {NAMESPACE}, which has a way out"
    return Chosen("nftables", f"namespace:{NAMESPACE}", words)


def _squid(trouble: str) -> Chosen:
    installed = _run(str(ROOT / "scripts/packages"), "window").returncode == 0
    if not installed or not shutil.which("squid", path="/usr/sbin:/usr/bin"):
        raise WindowError(
            f"no firewall window can be had here: {trouble}, and squid cannot be installed",
            remedy="Install nftables or squid; the demo does not fetch without a window.",
        )
    # Where no packet rule can be loaded anyway, `airlock` would ask for control groups in vain.
    confine = "machine" if _no_nft() and cgroup_root() is None else "airlock"
    return Chosen("squid", confine, f"squid, since {trouble}")


def _no_nft() -> str:
    """Why this machine loads no packet rules; nothing where it does."""
    if not shutil.which("nft"):
        return "nft is not installed"
    return _run("nft", "list", "tables").stderr.strip()


def _make_way_out() -> str:
    """A namespace behind this machine; returns why it has no way out, or nothing."""
    routes = json.loads(_run("ip", "-j", "route", "show", "default").stdout or "[]")
    if not routes:
        return "this machine has no default route"
    uplink = routes[0]["dev"]
    down()
    for words in (
        ("ip", "netns", "add", NAMESPACE),
        ("ip", "link", "add", DEVICES[0], "type", "veth", "peer", "name", DEVICES[1], "netns", NAMESPACE),
        ("ip", "address", "add", f"{OUTER}/30", "dev", DEVICES[0]),
        ("ip", "link", "set", DEVICES[0], "up"),
        ("ip", "-n", NAMESPACE, "link", "set", "lo", "up"),
        ("ip", "-n", NAMESPACE, "address", "add", f"{INNER}/30", "dev", DEVICES[1]),
        ("ip", "-n", NAMESPACE, "link", "set", DEVICES[1], "up"),
        ("ip", "-n", NAMESPACE, "route", "add", "default", "via", OUTER),
    ):
        done = _run(*words)
        if done.returncode != 0:
            return f"{' '.join(words)}: {done.stderr.strip()}"
    before: dict[str, str] = {}
    try:
        for device in (uplink, DEVICES[0]):
            place = Path(f"/proc/sys/net/ipv4/conf/{device}/forwarding")
            before[str(place)] = place.read_text().strip()
            STATE.write_text(json.dumps(before))
            place.write_text("1")
    except OSError as error:
        return f"packets cannot be forwarded here: {error.strerror}"
    rules = (
        f"table ip {TABLE} {{\n  chain out {{\n    type nat hook postrouting priority 100;\n"
        f'    ip saddr {INNER} oifname "{uplink}" masquerade\n  }}\n}}\n'
    )
    return _run("nft", "-f", "-", data=rules).stderr.strip()


def _reaches(name: str, port: int) -> bool:
    """Whether the namespace gets to a host, by an address that this machine knows."""
    inside = ("nsenter", f"--net=/run/netns/{NAMESPACE}", "--", "/usr/bin/python3", "-I", "-c", _CONNECT)
    return any(_run(*inside, address, str(port)).returncode == 0 for address in _addresses(name))


def _addresses(name: str) -> list[str]:
    try:
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def _inside(name: str) -> bool:
    """Whether a name leads into private space on this machine, where a mirror stands in for it."""
    return any(is_private(address) for address in _addresses(name))


async def _linked_hosts(index: str) -> list[str]:
    """Hosts that a project's page links to besides the index's own; none where the index does not answer: whoever
    then asks it says what is wrong.
    """
    page = request_url(below(index, f"{PROJECT}/"))
    try:
        async with session(FetchTable()) as client, client.get(page, headers={"Accept": ACCEPT}) as answer:
            if answer.status != 200:
                return []
            data = await answer.content.read(MAX_PAGE)
            while piece := await answer.content.read(MAX_PAGE):
                data += piece
            files = parse_page(data, answer.headers.get("Content-Type", ""), PROJECT, str(answer.url))
    except (*TRANSIENT, AirlockError):
        return []
    found = {urlsplit(file.url) for file in files}
    return sorted(
        {
            f"{parts.hostname}:{parts.port or (80 if parts.scheme == 'http' else 443)}"
            for parts in found
            if parts.hostname and parts.hostname != urlsplit(index).hostname
        }
    )


def _apt_hosts() -> set[str]:
    """Hosts that this machine's own apt takes from: Kolla's files mostly name the same."""
    listed = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").stdout.split()
    return {urlsplit(address).hostname or "" for address in listed} - {""}


def _closed(records: list[WindowRecord]) -> bool:
    return all(record.state == "closed" for record in records)


def _run(*words: str, data: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=data, text=True, capture_output=True, check=False)


def main() -> int:
    """See the module; returns the exit code."""
    try:
        if sys.argv[1:2] == ["up"]:
            up(Path(sys.argv[2]))
        elif sys.argv[1:2] == ["told"]:
            print(f"   {told(Path(sys.argv[2]), sys.argv[3])}")
        else:
            down()
    except AirlockError as error:
        print(f"error: {error.message}\n  → {error.remedy}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
