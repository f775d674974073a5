"""The hook: its contract, and the sample for a router with an HTTP API, against a stand-in."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.window_lab import AIRLOCK, MIRROR

SAMPLE = Path(__file__).parents[3] / "examples" / "window" / "router-hook"
ROUTER = """
import json, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
rules, log = {}, []
class Router(BaseHTTPRequestHandler):
    def answer(self, code, document=None):
        data = json.dumps(document or {}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def handle_one(self):
        with open(sys.argv[1], "a") as stream:
            stream.write(f"{self.command} {self.path} {self.headers.get('Authorization')}\\n")
        if self.headers.get("Authorization") != "Bearer token-of-the-router":
            return self.answer(401)
        for name in [name for name, rule in rules.items() if rule["expires"] < time.time()]:
            del rules[name]
        name = self.path.rpartition("/")[2]
        if self.command == "PUT":
            rule = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rules[name] = rule | {"expires": time.time() + rule["seconds"]}
            return self.answer(200)
        if self.command == "DELETE":
            return self.answer(200 if rules.pop(name, None) else 404)
        return self.answer(200, {"rules": rules})
    do_GET = do_PUT = do_DELETE = handle_one
    def log_message(self, *_): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Router)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@pytest.fixture
def router(lab, tmp_path) -> Iterator[tuple[str, Path]]:
    log = tmp_path / "router.log"
    process = lab.popen("/usr/bin/python3", "-I", "-c", ROUTER, str(log), stdout=subprocess.PIPE)
    with process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}", log
        process.kill()


def rules_of(lab, address: str) -> dict:
    done = lab.run("curl", "-s", "-H", "Authorization: Bearer token-of-the-router", f"{address}/rules")
    return json.loads(done.stdout)


def test_the_sample_opens_and_closes_a_router(lab, factory, router):
    address, log = router
    here = factory(window=f'backend = "hook"\ncommand = ["{SAMPLE}", "{address}", "router.token"]')
    token = here.root / "router.token"
    token.write_text("token-of-the-router\n")
    token.chmod(0o600)
    opened = here.open()
    assert here.window("status").returncode == 0
    rules = json.loads(
        lab.run("curl", "-s", "-H", "Authorization: Bearer token-of-the-router", f"{address}/rules").stdout
    )
    (rule,) = rules["rules"].values()
    assert rule["hosts"] == [{"name": "mirror.example.org", "port": 80}]
    assert 0 < rule["seconds"] <= 300
    closed = here.close()
    assert closed["id"] == opened["id"]
    assert "Airlock does not know" in closed["cannot_prove"][0]
    assert [line.split()[0] for line in log.read_text().splitlines()].count("PUT") == 1
    again = here.window("close", "--reason", "twice")
    assert again.returncode == 0, again.stderr


def test_the_router_closes_by_itself_when_everything_is_killed(lab, factory, router):
    address, _ = router
    here = factory(window=f'backend = "hook"\ncommand = ["{SAMPLE}", "{address}", "router.token"]')
    (here.root / "router.token").write_text("token-of-the-router\n")
    here.open(minutes=0.05)
    subprocess.run(["kill", "-9", (here.root / "state/window/keeper.lock").read_text()], check=True)
    time.sleep(3.2)
    assert rules_of(lab, address) == {"rules": {}}
    assert here.window("status").returncode == 0
    assert here.records()[0]["state"] == "closed"


def test_killed_in_the_middle_of_a_proof_nobody_keeps_it_any_more(lab, factory, router):
    address, _ = router
    here = factory(window=f'backend = "hook"\ncommand = ["{SAMPLE}", "{address}", "router.token"]')
    (here.root / "router.token").write_text("token-of-the-router\n")
    words = [AIRLOCK, "window", "open", "--reason", "a test", "--factory", here.root]
    with lab.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not rules_of(lab, address)["rules"]:  # from here on the canary is tried, in vain for seconds
            assert time.monotonic() < deadline
        time.sleep(0.3)
        process.kill()
        subprocess.run(["kill", "-9", (here.root / "state/window/keeper.lock").read_text()], check=True)
        assert here.window("status").returncode == 0
        assert [record["state"] for record in here.records()] == ["closed"]
        assert rules_of(lab, address) == {"rules": {}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo no", "did not answer by its contract"),
        ("exit 3", "failed with 3"),
        ("""echo '{"state": "ajar"}'""", "answered with the state 'ajar'"),
        ("""echo '{"state": "closed"}'""", "was told to open, and says 'closed'"),
    ],
)
def test_a_hook_that_breaks_its_contract(lab, factory, body, words):
    here = factory(window='backend = "hook"\ncommand = ["./hook"]')
    hook = here.root / "hook"
    hook.write_text(f"#!/bin/sh\ncat >/dev/null\n{body}\n")
    hook.chmod(0o755)
    done = lab.run(AIRLOCK, "window", "open", "--reason", "a test", "--factory", here.root)
    assert done.returncode == 20, done.stderr
    assert words in done.stderr


def test_a_firewall_that_stays_open_after_closing_is_told(lab, factory):
    here = factory(window='backend = "hook"\ncommand = ["./hook"]\n' + f'canary = "{MIRROR}:443"')
    hook = here.root / "hook"
    hook.write_text('#!/bin/sh\ngrep -q \'"open"\' && echo \'{"state": "open"}\' || echo \'{"state": "closed"}\'\n')
    hook.chmod(0o755)
    done = here.window("open", "--reason", "a test")
    assert done.returncode == 20, done.stderr
    assert f"tcp {MIRROR}:443: connected" in done.stderr
    assert here.records()[0]["state"] == "closed"
