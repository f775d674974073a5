"""The window on the machine that crosses: named hosts work, everything else is refused and counted."""

from __future__ import annotations

import subprocess

import pytest
from tests.window_lab import AIRLOCK, MIRROR, MIRROR6, NAMESERVER, OTHER, OTHER6, ZONE


def test_named_hosts_work_and_everything_else_is_refused_and_counted(lab, factory):
    here = factory()
    assert here.lab.reach("tcp", OTHER, 443) == "answered"  # the machine itself is nobody's business
    opened = here.open()
    assert [f"{host['name']}:{host['port']}" for host in opened["hosts"]] == ["mirror.example.org:80"]
    assert here.reach("tcp", "mirror.example.org", 80) == "answered"
    assert here.reach("tcp", MIRROR6, 80) == "answered"
    tries = [
        ("tcp", OTHER, 443), ("tcp", OTHER6, 443), ("tcp", MIRROR, 443), ("tcp", MIRROR6, 8080), ("udp", OTHER, 123),
        ("udp", OTHER6, 123), ("udp", MIRROR, 80), ("icmp", OTHER, 0), ("icmp", OTHER6, 0), ("icmp", MIRROR, 0),
    ]  # fmt: skip
    for kind, host, port in tries:
        assert here.reach(kind, host, port) == "refused", (kind, host, port)
    assert here.reach("name", "other.example.org") == "no such name"
    assert lab.reach("tcp", OTHER, 443) == "answered"
    closed = here.close()
    refused = {(one["to"], one["protocol"], one["port"]) for one in closed["refused"]}
    names = {"icmp": {"icmp", "ipv6-icmp"}, "tcp": {"tcp"}, "udp": {"udp"}}
    for kind, host, port in tries:
        assert any((host, name, port) in refused for name in names[kind]), (kind, host, port, refused)
    assert "other.example.org" in closed["refused_names"]
    contact = next(one for one in closed["contacts"] if one["address"] == MIRROR6)
    assert contact["hosts"] == ["mirror.example.org"]
    assert contact["connections"] >= 1
    assert contact["received"] > 0
    assert here.reach("tcp", MIRROR, 80) == "refused"
    assert all(proof["held"] for proof in closed["proof"])
    assert {proof["when"] for proof in closed["proof"]} == {"open", "closed"}


def test_bytes_that_others_on_this_machine_fetch_are_not_the_windows(lab, factory):
    here = factory()
    lab.serve("large", bytes(2_000_000))
    definition = here.locked({"one.tar": bytes(range(200)) * 1000})
    here.open()
    others = lab.run("curl", "-sf", "-o", "/dev/null", f"http://{MIRROR}/large")
    assert others.returncode == 0, others.stderr
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 0, done.stderr
    received = sum(contact["received"] for contact in here.close()["contacts"])
    assert 200_000 < received < 1_000_000


def test_no_name_server_but_the_windows_own_is_asked(lab, factory):
    here = factory()
    here.open()
    before = len(lab.asked())
    assert here.reach("name", "mirror.example.org") == f"{sorted([MIRROR, MIRROR6])}"
    assert here.reach("name", "secret.example.org") == "no such name"
    assert not [line for line in lab.asked()[before:] if "secret" in line]
    # Another's name server is asked: the packet goes to the window's resolver, and leaves nothing behind.
    here.reach("udp", NAMESERVER, 53)
    assert not [line for line in lab.asked()[before:] if line.startswith("dns") and "mirror" not in line]


def test_the_kernel_closes_by_itself_and_cuts_what_flows(lab, factory):
    here = factory()
    here.open(minutes=5 / 60)
    lab.serve("endless", bytes(4 << 20))
    script = (
        "import os, socket, time, sys\n"
        f"open({str(here.cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        f"s = socket.create_connection(({MIRROR!r}, 80)); s.sendall(b'GET /slow/endless HTTP/1.0\\r\\n\\r\\n')\n"
        "began, total = time.monotonic(), 0\n"
        "s.settimeout(3)\n"
        "try:\n"
        "    while data := s.recv(65536): total += len(data)\n"
        "except OSError as error: print(type(error).__name__, end=' ')\n"
        "print(total, round(time.monotonic() - began, 1))\n"
    )
    done = lab.run("/usr/bin/python3", "-I", "-c", script)
    words = done.stdout.split()
    assert 0 < int(words[-2]) < 4 << 20, done
    assert float(words[-1]) < 8.5
    assert not here.is_open()


def test_closing_by_hand_cuts_what_flows(lab, factory):
    here = factory()
    here.open()
    lab.serve("endless", bytes(8 << 20))
    script = (
        "import os, socket\n"
        f"open({str(here.cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
        f"s = socket.create_connection(({MIRROR!r}, 80)); s.sendall(b'GET /slow/endless HTTP/1.0\\r\\n\\r\\n')\n"
        "s.settimeout(4); total = len(s.recv(65536)); print('flows', flush=True)\n"
        "try:\n"
        "    while data := s.recv(65536): total += len(data)\n"
        "except OSError as error: print(type(error).__name__, end=' ')\n"
        "print(total)\n"
    )
    with lab.popen("/usr/bin/python3", "-I", "-c", script, stdout=subprocess.PIPE) as flow:
        assert flow.stdout.readline() == "flows\n"
        here.close()
        assert 0 < int(flow.stdout.read().split()[-1]) < 8 << 20


def test_a_factory_has_one_table_by_whatever_path_it_is_named(lab, factory):
    here = factory()
    other = here.root.with_name(f"{here.root.name}-link")
    other.symlink_to(here.root)
    words = ["window", "open", "--reason", "a test", "--factory", other]
    assert lab.run(AIRLOCK, *words).returncode == 0
    assert here.reach("tcp", MIRROR, 80) == "answered"
    assert lab.run(AIRLOCK, *words).returncode == 10
    here.close()
    assert here.reach("tcp", MIRROR, 80) == "refused"


def test_addresses_that_move_are_followed_and_the_old_ones_forgotten(lab, factory):
    here = factory()
    opened = here.open()
    assert {one["address"] for one in opened["addresses"]} == {MIRROR, MIRROR6}
    lab.zone(ZONE | {"mirror.example.org": {"A": [OTHER]}})
    assert here.reach("tcp", MIRROR, 80) == "answered"  # not longer than its bounded time to live
    listed = here.listing()["open4"]
    assert all(element["elem"]["timeout"] <= 3600 for element in listed)


def test_ipv6_only_hosts(lab, factory):
    here = factory(upstreams='[upstreams.debian]\naddress = "http://six.example.org:8080"\n')
    here.open()
    assert here.reach("tcp", "six.example.org", 8080) == "answered"
    assert here.reach("tcp", MIRROR6, 80) == "refused"
    assert here.window("test").returncode == 0


def test_an_unnamed_host_on_a_named_hosts_address_is_told_of(lab, factory):
    here = factory()
    here.open()
    assert here.reach("name", "same.example.org") == "no such name"
    assert here.reach("tcp", MIRROR, 80) == "answered"  # by its address, which is what packet rules see
    assert any("not names" in text for text in here.close()["cannot_prove"])


def test_a_user_of_the_factorys_own(lab, factory):
    here = factory(window='confine = ["user:nobody"]')
    here.open()
    assert lab.reach("tcp", OTHER, 443, uid=65534) == "refused"
    assert lab.reach("tcp", "mirror.example.org", 80, uid=65534) == "answered"
    assert lab.reach("name", "other.example.org", uid=65534) == "no such name"
    assert lab.reach("tcp", OTHER, 443, uid=33) == "answered"
    assert here.window("test").returncode == 0
    here.close()
    assert lab.reach("tcp", MIRROR, 80, uid=65534) == "refused"


@pytest.mark.parametrize("confine", ['["subnet:10.77.0.0/24", "subnet:fd77::/64"]', '["interface:{box}"]'])
def test_a_container_behind_this_machine(lab, factory, confine):
    here = factory(window=f"confine = {confine.format(box=f'b{lab.tag}')}")
    box = {"where": lab.box}
    assert lab.reach("tcp", OTHER, 443, **box) == "answered"
    here.open()
    assert lab.reach("tcp", MIRROR, 80, **box) == "answered"
    for kind, host, port in (("tcp", OTHER, 443), ("udp", OTHER, 123), ("icmp", OTHER, 0), ("tcp", OTHER6, 443)):
        assert lab.reach(kind, host, port, **box) in ("refused", "silence", "error 113"), (kind, host)
    assert lab.reach("tcp", OTHER, 443) == "answered"
    closed = here.close()
    assert lab.reach("tcp", MIRROR, 80, **box) == "refused"
    assert (OTHER, "tcp", 443) in {(one["to"], one["protocol"], one["port"]) for one in closed["refused"]}


def test_a_whole_namespace(lab, factory):
    here = factory(window=f'confine = ["namespace:{lab.box}"]')
    here.open()
    assert lab.reach("tcp", MIRROR, 80, where=lab.box) == "answered"
    assert lab.reach("tcp", OTHER, 443, where=lab.box) == "refused"
    assert lab.reach("icmp", OTHER, where=lab.box) == "refused"
    assert lab.reach("tcp", OTHER, 443) == "answered"
    assert here.window("test").returncode == 0
    here.close()


def test_a_service_of_others_on_loopback_cannot_be_used_to_get_out(lab, factory):
    here = factory()
    script = (
        "import socketserver as s\n"
        "class Out(s.BaseRequestHandler):\n"
        "    def handle(self): self.request.sendall(b'out')\n"
        "s.ThreadingTCPServer(('127.0.0.1', 4127), Out).serve_forever()\n"
    )
    forwarder = lab.popen("/usr/bin/python3", "-I", "-c", script)
    try:
        here.open()
        outcomes = {here.reach("tcp", "127.0.0.1", 4127) for _ in range(3)}
        assert outcomes == {"refused"}
        assert lab.reach("tcp", "127.0.0.1", 4127) == "answered"
    finally:
        forwarder.kill()
        forwarder.wait()
