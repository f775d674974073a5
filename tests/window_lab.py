"""A machine that crosses, a container behind it and an internet: three network namespaces with veth between them.

The addresses are documentation's: to the window they are neither private nor anybody's.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.bundle_samples import RELEASE, write_lock

from airlock.core.canonical import canonical
from airlock.core.digest import sha256_bytes
from airlock.definition.load import load_definition
from airlock.fetch.transcript import Entry, Transcript
from airlock.firewall.selection import cgroup_root
from airlock.lock.indexes import STANZAS, AptIndexes
from airlock.lock.model import Artifact, make_lock
from airlock.store.pool import Pool

NAMESERVER = "203.0.113.53"
MIRROR, FILES, OTHER = "203.0.113.2", "203.0.113.3", "203.0.113.4"
MIRROR6, OTHER6 = "2001:db8:1::2", "2001:db8:1::4"
ZONE: dict[str, dict[str, Any]] = {
    "mirror.example.org": {"A": [MIRROR], "AAAA": [MIRROR6]},
    "files.example.org": {"A": [FILES]},
    "six.example.org": {"AAAA": [MIRROR6]},
    "same.example.org": {"A": [MIRROR]},
    "other.example.org": {"A": [OTHER], "AAAA": [OTHER6]},
    "inside.example.org": {"A": ["10.77.0.9"]},
    "loop.example.org": {"A": ["127.0.0.1"]},
    "many.example.org": {"A": [f"203.0.113.{n}" for n in range(100, 180)]},
}
AIRLOCK = Path(sys.executable).with_name("airlock")
WORLD = Path(__file__).with_name("window_world.py")
REACH = """
import errno, json, os, socket, sys
cgroup, uid, kind, host, port = sys.argv[1:6]
if cgroup:
    open(cgroup + "/cgroup.procs", "w").write(str(os.getpid()))
if int(uid):
    os.setgroups([])
    os.setresuid(*[int(uid)] * 3)
try:
    if kind == "tcp":
        with socket.create_connection((host, int(port)), 2) as s:
            s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
            s.settimeout(2)
            print("answered" if s.recv(10) else "closed")
    elif kind == "udp":
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            s.connect((host, int(port)))
            s.send(b"hello")
            print("answered" if s.recv(100) else "nothing")
    elif kind == "icmp":
        six = ":" in host
        kind = (socket.AF_INET6, socket.SOCK_RAW, 58) if six else (socket.AF_INET, socket.SOCK_RAW, 1)
        ping = [128, 0, 0, 0, 0, 1, 0, 0] if six else [8, 0, 0xF7, 0xFE, 0, 1, 0, 0]
        with socket.socket(*kind) as s:
            s.settimeout(1)
            s.sendto(bytes(ping), (host, 0))
            while True:
                if s.recvfrom(100)[1][0] == host:
                    print("answered")
                    break
    elif kind == "name":
        print(sorted({found[4][0] for found in socket.getaddrinfo(host, None)}))
except socket.gaierror as error:
    print("no such name")
except TimeoutError:
    print("silence")
except OSError as error:
    print("refused" if error.errno in (errno.ECONNREFUSED, errno.EPERM, errno.EACCES) else f"error {error.errno}")
"""


class Lab:
    """``here`` is the namespace of the machine that crosses, ``out`` the internet, ``box`` the container."""

    def __init__(self, root: Path, tag: str) -> None:
        self.root, self.tag = root, tag
        self.here, self.out, self.box = (f"aw{tag}{letter}" for letter in "hob")
        self.world = root / "world"
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.world / "www").mkdir(parents=True)
        for parent in (self.root, self.root.parent):  # squid's user has to get to a factory
            parent.chmod(0o755)
        self.zone(ZONE)
        for name in (self.here, self.out, self.box):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        self._link(self.here, f"o{self.tag}", self.out, f"h{self.tag}")
        self._link(self.here, f"b{self.tag}", self.box, f"e{self.tag}")
        for name, device, addresses in (
            (self.here, f"o{self.tag}", ["203.0.113.1/24", "2001:db8:1::1/64"]),
            (self.out, f"h{self.tag}", [f"{a}/24" for a in (MIRROR, FILES, OTHER, NAMESERVER)]),
            (self.out, f"h{self.tag}", [f"{a}/64" for a in (MIRROR6, OTHER6)]),
            (self.here, f"b{self.tag}", ["10.77.0.1/24", "fd77::1/64"]),
            (self.box, f"e{self.tag}", ["10.77.0.2/24", "fd77::2/64"]),
        ):
            for address in addresses:
                ip("-n", name, "address", "add", address, "dev", device, *(["nodad"] if ":" in address else []))
            ip("-n", name, "link", "set", device, "up")
        for name, way, way6 in ((self.here, MIRROR, MIRROR6), (self.box, "10.77.0.1", "fd77::1")):
            ip("-n", name, "route", "add", "default", "via", way)
            ip("-n", name, "-6", "route", "add", "default", "via", way6)
        ip("-n", self.out, "route", "add", "10.77.0.0/24", "via", "203.0.113.1")
        ip("-n", self.out, "-6", "route", "add", "fd77::/64", "via", "2001:db8:1::1")
        for key in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            self.run("sysctl", "-q", "-w", key)
        command = [sys.executable, str(WORLD), str(self.world), NAMESERVER]
        with (self.root / "world.log").open("wb") as log:
            self._server = subprocess.Popen(self._in(self.out, command), stderr=log)
        for _ in range(200):
            if (self.world / "ready").exists():
                return
            time.sleep(0.05)
        raise AssertionError((self.root / "world.log").read_text())

    def stop(self) -> None:
        for name in (self.here, self.out, self.box):
            for pid in inhabitants(name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if self._server is not None:
            self._server.wait()
        for name in (self.here, self.out, self.box):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def zone(self, zone: Mapping[str, Mapping[str, Any]]) -> None:
        """What the name server answers from now on."""
        place = self.world / "zone.json"
        place.with_suffix(".new").write_text(json.dumps(zone))
        place.with_suffix(".new").rename(place)

    def serve(self, name: str, data: bytes) -> None:
        path = self.world / "www" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def asked(self) -> list[str]:
        """What arrived out there, without the times."""
        log = self.world / "asked.log"
        return [line.partition(" ")[2] for line in log.read_text().splitlines()] if log.exists() else []

    def factory(self, window: str = "", upstreams: str = "", name: str = "factory") -> Factory:
        """A factory whose mirror is in the lab."""
        return Factory(self, self.root / name, window, upstreams)

    def run(self, *command: str | Path, where: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program on the machine that crosses (or elsewhere) to its end."""
        words = self._in(where or self.here, [str(word) for word in command])
        return subprocess.run(words, text=True, capture_output=True, check=options.pop("check", False), **options)

    def popen(self, *command: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start a program on the machine that crosses."""
        words = self._in(self.here, [str(word) for word in command])
        return subprocess.Popen(words, text=True, **options)

    def reach(
        self, kind: str, host: str, port: int = 0, *, cgroup: Path | str = "", uid: int = 0, where: str = ""
    ) -> str:
        """Try to get there, from a process that is nothing of Airlock's but for its control group."""
        words = ["/usr/bin/python3", "-I", "-c", REACH, str(cgroup), str(uid), kind, host, str(port)]
        return self.run(*words, where=where).stdout.strip()

    def _in(self, namespace: str, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{namespace}", "--", *command]

    def _link(self, left: str, device: str, right: str, other: str) -> None:
        ip("link", "add", device, "netns", left, "type", "veth", "peer", "name", other, "netns", right)


class Factory:
    """A factory's folder in a lab."""

    def __init__(self, lab: Lab, root: Path, window: str, upstreams: str) -> None:
        self.lab, self.root = lab, root
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)
        self.settings(window, upstreams)

    def settings(self, window: str, upstreams: str = "") -> None:
        text = upstreams or '[upstreams.debian]\naddress = "http://mirror.example.org"\n'
        defaults = {"backend": '"nftables"', "nameservers": f'["{NAMESERVER}"]', "minutes": "5"}
        lines = [f"{key} = {value}" for key, value in defaults.items() if f"{key} =" not in window]
        patience = "[fetch]\nretries = 1\ntimeout = 5.0\n"
        table = "\n".join([*lines, window])
        (self.root / "factory.toml").write_text(f"{text}\n{patience}\n[window]\n{table}\n")

    @property
    def table(self) -> str:
        return f"airlock-{hashlib.sha256(str(self.root).encode()).hexdigest()[:8]}"

    @property
    def cgroup(self) -> Path:
        root = cgroup_root()
        assert root is not None
        return root / self.table

    def window(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """``airlock window …``"""
        return self.lab.run(AIRLOCK, "window", *words, "--factory", self.root, **options)

    def open(self, *words: str, minutes: float = 5) -> dict[str, Any]:
        done = self.window("open", "--json", "--reason", "a test", "--minutes", str(minutes), *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def close(self) -> dict[str, Any]:
        done = self.window("close", "--json", "--reason", "the test is over")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["closed"]

    def records(self) -> list[dict[str, Any]]:
        found = [json.loads(path.read_text()) for path in (self.root / "windows").glob("*.json")]
        return sorted(found, key=lambda record: (record["opened"], record["id"]))

    def ledger(self) -> list[dict[str, Any]]:
        path = self.root / "ledger.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def reach(self, kind: str, host: str, port: int = 0, **options: Any) -> str:
        """From where Airlock's own processes are confined."""
        return self.lab.reach(kind, host, port, cgroup=self.cgroup, **options)

    def listing(self) -> dict[str, Any]:
        """The kernel's own list of the table: set name → elements."""
        done = self.lab.run("nft", "-j", "list", "table", "inet", self.table)
        if done.returncode != 0:
            return {}
        items = json.loads(done.stdout)["nftables"]
        return {item["set"]["name"]: item["set"].get("elem", []) for item in items if "set" in item}

    def is_open(self) -> bool:
        """Whether the kernel lists anything that lets a packet pass."""
        return bool(self.listing().get("gate"))

    def locked(self, files: Mapping[str, bytes], *, folder: str = "") -> Path:
        """A definition with a lock of ``files``, which the mirror serves below ``folder``; returns its folder."""
        place = self.root / "definition"
        place.mkdir(exist_ok=True)
        (place / "release.toml").write_text(RELEASE.format(name="window"))
        (place / "upper-constraints.txt").write_text("requests===2.31.0\n")
        definition = load_definition(place)
        artifacts = []
        for name, data in files.items():
            self.lab.serve(name, data)
            path = f"{folder}{name}"
            sha256 = sha256_bytes(data)
            artifacts.append(
                Artifact(
                    f"source/{name}", "source", name, "1", "any", name, sha256, len(data), "debian", path, "declared"
                )
            )
        pool, transcript = Pool(self.root / "pool"), Transcript()
        stanzas = canonical(AptIndexes({}, {}, []))
        transcript.add(Entry("", STANZAS, 200, pool.add_bytes(stanzas), len(stanzas)))
        witness = pool.add_bytes(transcript.to_bytes())
        lock = make_lock(
            release="window", definition=definition.digest, kolla={}, witness=witness, requires={}, images=[],
            demands=[], artifacts=artifacts,
        )  # fmt: skip
        write_lock(definition, lock)
        return place

    def refresh_words(self, definition: Path) -> list[str | Path]:
        return [AIRLOCK, "refresh", "--factory", self.root, definition]


def body(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def inhabitants(namespace: str) -> set[int]:
    """Processes in a network namespace."""
    found = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False)
    return {int(word) for word in found.stdout.split()}


@contextlib.contextmanager
def open_lab(root: Path) -> Iterator[Lab]:
    """A lab, and its end."""
    made = Lab(root, f"{os.getpid() % 100000:x}{next(_count)}")
    try:
        made.start()
        yield made
    finally:
        made.stop()


def _counting() -> Iterator[int]:
    yield from range(1 << 20)


_count = _counting()
