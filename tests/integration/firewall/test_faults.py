"""Bad input and faults: one clear message each, and nothing left open."""

from __future__ import annotations

import json
import subprocess
import time

import pytest
from tests.window_lab import AIRLOCK, MIRROR, ZONE


def upstream(host: str) -> str:
    return f'[upstreams.debian]\naddress = "http://{host}/debian"\n'


@pytest.mark.parametrize(
    ("lines", "window", "code", "words"),
    [
        (upstream("192.0.2.7"), "", 2, "the upstream debian: 192.0.2.7 is an address"),
        (upstream("[2001:db8::7]"), "", 2, "is an address"),
        ("", 'hosts = ["*.example.org"]', 2, "is a wildcard"),
        ("", 'hosts = [".example.org"]', 2, "is a wildcard"),
        ("", 'hosts = ["mirror.example.org:0"]', 2, "is not name:port"),
        (upstream("inside.example.org"), "", 20, "inside.example.org has the address 10.77.0.9"),
        (upstream("loop.example.org"), "", 20, "loop.example.org has the address 127.0.0.1"),
        (upstream("many.example.org"), "", 20, "many.example.org has 80 addresses, and a window takes 64"),
        ("", 'confine = ["everything"]', 2, "'everything' says nothing that can be confined"),
        ("", 'confine = ["user:root"]', 2, "root is the whole machine"),
        ("", 'confine = ["namespace:no-such"]', 20, "there is no network namespace no-such"),
        ("", 'nameservers = ["resolver"]', 2, "is not address or address:port"),
        ("", 'backend = "hook"', 2, "names no hook"),
        ("", 'backend = "squid"\nconfine = ["namespace:{box}"]', 2, "squid listens on this machine's loopback"),
        ("", 'backend = "none"', 2, "there is nothing to open"),
    ],
)
def test_what_cannot_be_opened_is_said_and_nothing_is(lab, factory, lines, window, code, words):
    here = factory(window=window.replace("{box}", lab.box), upstreams=lines)
    done = here.window("open", "--reason", "a test")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "→" in done.stderr
    assert not here.is_open()
    assert all(record["state"] == "closed" for record in here.records())


def test_private_space_is_allowed_by_name(lab, factory):
    here = factory(window='private = ["inside.example.org"]', upstreams=upstream("inside.example.org"))
    opened = here.open()
    assert [one["address"] for one in opened["addresses"]] == ["10.77.0.9"]


def test_a_reason_is_required_and_a_time_within_the_sites(factory):
    here = factory(window="max_minutes = 10")
    assert here.window("open").returncode == 2
    assert "wants a reason" in here.window("open").stderr
    done = here.window("open", "--reason", "a test", "--minutes", "11")
    assert (done.returncode, "this factory allows 10" in done.stderr) == (2, True)
    assert here.window("close").returncode == 2
    assert not here.records()


def test_a_host_that_the_settings_do_not_name_cannot_be_asked_for(factory):
    done = factory().window("open", "--reason", "a test", "--host", "other.example.org")
    assert done.returncode == 2
    assert '[window] hosts = ["other.example.org"]' in done.stderr


def test_a_window_is_not_opened_twice(lab, factory):
    here = factory()
    opened = here.open()
    done = here.window("open", "--reason", "me too")
    assert done.returncode == 10
    assert opened["id"] in done.stderr
    assert len(here.records()) == 1
    here.close()


def test_two_at_once_are_one(lab, factory):
    here = factory()
    words = [AIRLOCK, "window", "open", "--json", "--reason", "a test", "--factory", here.root]
    both = [lab.popen(*words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    said = [json.loads(one.communicate()[0]) for one in both]
    assert sorted(one.returncode for one in both) in ([0, 10], [0, 20]), said
    assert [record["state"] for record in here.records()].count("open") == 1
    here.close()


def test_a_table_of_that_name_that_is_not_ours_is_left_alone(lab, factory):
    here = factory()
    lab.run("nft", "add", "table", "inet", here.table, check=True)
    done = here.window("open", "--reason", "a test")
    assert done.returncode == 10, done.stderr
    assert f"table inet {here.table} that Airlock did not make" in done.stderr
    lab.run("nft", "delete", "table", "inet", here.table, check=True)


@pytest.mark.parametrize(("backend", "program"), [("nftables", "nft"), ("squid", "squid")])
def test_a_program_that_is_missing(lab, factory, tmp_path, backend, program):
    here = factory(window=f'backend = "{backend}"')
    words = ["unshare", "--mount", "sh", "-c", f'mount --bind /dev/null /usr/sbin/{program}; exec "$@"', "sh"]
    done = lab.run(*words, AIRLOCK, "window", "open", "--reason", "a test", "--factory", here.root)
    assert done.returncode == 11, done.stderr
    assert f"apt-get install --no-install-recommends {'nftables' if program == 'nft' else 'squid'}" in done.stderr


def test_after_a_reboot_nothing_is_open_and_the_record_says_so(lab, factory):
    here = factory()
    opened = here.open()
    here_keeper = int((here.root / "state/window/keeper.lock").read_text())
    subprocess.run(["kill", "-9", str(here_keeper)], check=True)
    lab.run("nft", "delete", "table", "inet", here.table, check=True)  # what a reboot does
    path = here.root / "windows" / f"{opened['id']}.json"
    path.write_text(path.read_text().replace(opened["boot"], "0" * 36))
    status = here.window("status", "--json")
    assert status.returncode == 0, status.stderr
    found = json.loads(status.stdout)
    assert found["open"] is None
    assert "the machine's restart" in found["straightened"][0]
    assert "nothing is confined" in found["rules"]
    broken = here.window("test")
    assert broken.returncode == 20  # it says that nothing confines
    done = here.window("close", "--reason", "boot")
    assert done.returncode == 0, done.stderr
    assert here.reach("tcp", MIRROR, 80) == "refused"
    assert here.window("test").returncode == 0


def test_whatever_clock_the_keeper_had_the_kernel_closes_after_its_seconds(lab, factory):
    """A time namespace eleven days ahead; the window's end is the kernel's own count of seconds."""
    here = factory()
    ahead = ["unshare", "--time", "--fork", "--monotonic", "1000000", "--boottime", "1000000", "--"]
    words = [AIRLOCK, "window", "open", "--reason", "a test", "--minutes", "0.1", "--factory", here.root]
    began = time.monotonic()
    assert lab.run(*ahead, *words).returncode == 0
    subprocess.run(["kill", "-9", (here.root / "state/window/keeper.lock").read_text()], check=True)
    assert here.reach("tcp", MIRROR, 80) == "answered"
    gate = here.listing()["gate"][0]["elem"]
    assert gate["timeout"] == 6
    while here.is_open():
        assert time.monotonic() - began < 6 + 5, "it is open beyond its time"
        time.sleep(0.1)
    assert here.reach("tcp", MIRROR, 80) == "refused"


def test_a_changed_record_is_noticed(factory):
    here = factory()
    here.open()
    closed = here.close()
    path = here.root / "windows" / f"{closed['id']}.json"
    path.write_text(path.read_text().replace('"reason":"a test"', '"reason":"a fest"'))
    assert "NOT what the ledger says" in here.window("status").stdout


def test_names_without_an_address_are_told_and_follow_later(lab, factory):
    here = factory(upstreams=upstream("later.example.org"))
    opened = here.open()
    assert opened["notes"] == ["later.example.org had no address when the window opened"]
    assert here.reach("name", "later.example.org") == "no such name"
    lab.zone(ZONE | {"later.example.org": {"A": [MIRROR]}})
    assert here.reach("tcp", "later.example.org", 80) == "answered"
    here.close()


def test_the_report_is_one_page(factory, tmp_path):
    here = factory()
    here.open()
    here.close()
    page = tmp_path / "windows.html"
    done = here.window("report", "--output", str(page))
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert "mirror.example.org:80" in text
    assert "Every proof held" in text
    assert "<script" not in text
    assert "http" not in text.replace("http</", "")
