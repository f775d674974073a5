"""squid for real: names are enforced, its log is the evidence, and it ends with the window."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.window_lab import MIRROR, OTHER, ZONE, Factory, body

LINES = '[upstreams.debian]\naddress = "http://mirror.example.org"\nhosts = ["files.example.org:443"]\n'


@pytest.fixture
def here(factory) -> Factory:
    return factory(window='backend = "squid"', upstreams=LINES)


def through(here: Factory, request: str, *, cgroup: bool = True) -> str:
    """First line of the proxy's answer to a request, from where Airlock is confined."""
    proxy = json.loads((here.root / "state/window/entrance.json").read_text())["environment"]["https_proxy"]
    port = proxy.rpartition(":")[2]
    join = f"open({str(here.cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n" if cgroup else ""
    script = (
        f"import os, socket\n{join}"
        f"s = socket.create_connection(('127.0.0.1', {port}), 5); s.settimeout(5)\n"
        f"s.sendall({request!r}.encode())\n"
        "print(s.recv(200).decode('latin-1').splitlines()[0])\n"
    )
    done = here.lab.run("/usr/bin/python3", "-I", "-c", script)
    return done.stdout.strip() or done.stderr


def connect(place: str) -> str:
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"


def get(url: str, method: str = "GET") -> str:
    return f"{method} {url} HTTP/1.1\r\nHost: {url.split('/')[2]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


def test_names_are_enforced_and_the_log_is_kept(lab, here):
    lab.serve("hello", b"hello")
    opened = here.open()
    assert "200" in through(here, get("http://mirror.example.org/hello"))
    assert "200" in through(here, connect("files.example.org:443"))
    for request in (
        connect("other.example.org:443"),
        connect("same.example.org:80"),  # another name of a named host's address
        connect(f"{MIRROR}:80"),  # the address itself
        connect("mirror.example.org:443"),  # another port
        get("http://other.example.org/hello"),
        get("http://mirror.example.org/hello", "POST"),
    ):
        assert "403" in through(here, request), request
    assert here.reach("tcp", OTHER, 443) == "refused"
    assert here.reach("tcp", MIRROR, 80) == "refused"  # the proxy is the only way
    before = len(lab.asked())
    assert "403" in through(here, connect("secret.example.org:443"))
    assert not [line for line in lab.asked()[before:] if "secret" in line]  # not even looked up
    closed = here.close()
    assert {(one["hosts"][0], one["port"]) for one in closed["contacts"]} == {
        ("mirror.example.org", 80),
        ("files.example.org", 443),
    }
    refused = {one["to"] for one in closed["refused"]}
    assert {"other.example.org", "same.example.org", MIRROR, "mirror.example.org", "secret.example.org"} <= refused
    log = here.root / "windows" / f"{opened['id']}.access.log"
    assert "other.example.org" in log.read_text()
    assert all(proof["held"] for proof in closed["proof"])
    assert here.reach("tcp", MIRROR, 80) == "refused"


def test_refresh_goes_through_it(lab, here, factory):
    neighbour = factory()  # another factory's rules on this machine are its own
    neighbour.open()
    neighbour.close()
    definition = here.locked({"one.tar": body(20, 300_000), "two.tar": body(21, 200_000)})
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 0, done.stderr
    (record,) = here.records()
    (contact,) = record["contacts"]
    assert contact["hosts"] == ["mirror.example.org"]
    assert contact["received"] > 500_000
    assert record["access_log"]


def test_a_name_that_leads_into_private_space_is_refused(lab, factory):
    here = factory(window='backend = "squid"\nhosts = ["inside.example.org:80", "loop.example.org:80"]')
    here.open()
    for name in ("inside.example.org", "loop.example.org"):
        assert "403" in through(here, get(f"http://{name}/")), name
    lab.zone(ZONE | {"mirror.example.org": {"A": ["127.0.0.1"], "ttl": 1}})
    assert "403" in through(here, get("http://mirror.example.org/hello"))
    here.close()


def test_its_tunnels_end_with_the_window(lab, here):
    lab.serve("endless", bytes(8 << 20))
    here.open(minutes=0.06)
    began = time.monotonic()
    proxy = json.loads((here.root / "state/window/entrance.json").read_text())["environment"]["https_proxy"]
    done = lab.run("curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", "-x", proxy,
                   "http://mirror.example.org/slow/endless")  # fmt: skip
    assert 0 < int(done.stdout) < 8 << 20
    assert time.monotonic() - began < 6
    assert done.returncode != 0


def test_a_parent_that_wants_credentials(lab, factory, parent):
    port, log = parent
    secret = "s3cret-of-the-parent"
    window = (
        f'backend = "squid"\nparent = "http://localhost:{port}"\nparent_user = "ada"\n'
        'parent_password_file = "parent.password"'
    )
    here = factory(window=window)
    (here.root / "parent.password").write_text(secret + "\n")
    (here.root / "parent.password").chmod(0o600)
    here.open()
    through(here, get("http://mirror.example.org/hello"))
    deadline = time.monotonic() + 10
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert base64.b64encode(f"ada:{secret}".encode()).decode() in log.read_text()
    assert not [place for place in Path("/proc").iterdir() if place.name.isdigit() and secret in command_line(place)]
    here.close()
    assert secret not in json.dumps(here.records())
    assert secret not in json.dumps(here.ledger())
    for path in (here.root / "windows").iterdir():
        assert secret not in path.read_text()


def command_line(place: Path) -> str:
    try:
        return (place / "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


@pytest.fixture
def parent(lab, tmp_path) -> Iterator[tuple[int, object]]:
    """A proxy that notes what it is told, on the loopback of the machine that crosses."""
    log = tmp_path / "parent.log"
    script = (
        "import socketserver, sys\n"
        "class Proxy(socketserver.StreamRequestHandler):\n"
        "    def handle(self):\n"
        "        lines = b''\n"
        "        while (line := self.rfile.readline().strip()): lines += line + b'\\n'\n"
        "        open(sys.argv[1], 'ab').write(lines)\n"
        "        self.wfile.write(b'HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "socketserver.ThreadingTCPServer.allow_reuse_address = True\n"
        "server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), Proxy)\n"
        "print(server.server_address[1], flush=True)\n"
        "server.serve_forever()\n"
    )
    process = lab.popen("/usr/bin/python3", "-I", "-c", script, str(log), stdout=subprocess.PIPE)
    with process:
        yield int(process.stdout.readline()), log
        process.kill()
