"""``refresh`` inside a window: what it fetches, what it is refused, how it is cut and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from tests.window_lab import FILES, MIRROR, ZONE, body


def test_refresh_opens_fetches_closes_and_proves(lab, factory):
    here = factory()
    files = {"one.tar": body(1, 200_000), "two.tar": body(2, 100_000)}
    definition = here.locked(files)
    done = lab.run(*here.refresh_words(definition), "--reason", "CVE-2024-0001")
    assert done.returncode == 0, done.stderr
    assert "opens mirror.example.org:80" in done.stderr
    (record,) = here.records()
    assert (record["state"], record["verb"], record["reason"]) == ("closed", "refresh", "CVE-2024-0001")
    assert record["closed_by"] == "the command is done"
    assert record["lock"] == here.ledger()[-1]["data"]["lock"]
    assert here.ledger()[-1]["data"]["windows"] == [record["id"]]
    assert [entry["verb"] for entry in here.ledger()] == ["window-open", "window-close", "refresh"]
    assert sum(contact["received"] for contact in record["contacts"]) > 300_000
    assert not record["refused"]
    assert not record["refused_names"]
    assert all(proof["held"] for proof in record["proof"])
    assert not here.is_open()
    assert here.reach("tcp", MIRROR, 80) == "refused"
    again = lab.run(*here.refresh_words(definition))
    assert again.returncode == 0
    assert len(here.records()) == 1  # nothing was missing: nothing was opened


def test_a_redirect_to_a_host_that_is_not_named_is_refused_with_the_line_to_add(lab, factory):
    here = factory()
    data = body(3, 1000)
    definition = here.locked({"moved.tar": data}, folder="go?to=http://files.example.org/")
    before = len(lab.asked())
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 20, done.stderr
    assert "redirects to files.example.org:80, which the window does not name" in done.stderr
    assert '[upstreams.debian] hosts = ["files.example.org:80"]' in done.stderr
    assert not [line for line in lab.asked()[before:] if line.startswith(("dns files", "http files"))]
    assert not here.is_open()
    lines = '[upstreams.debian]\naddress = "http://mirror.example.org"\nhosts = ["files.example.org:80"]\n'
    here.settings("", lines)
    definition = here.locked({"moved.tar": data}, folder="go?to=http://files.example.org/moved.tar&x=")
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 0, done.stderr


def test_a_download_across_the_end_of_the_window_is_cut_and_goes_on(lab, factory):
    here = factory(window="minutes = 0.07")
    definition = here.locked({"long.tar": body(4, 6 << 20)}, folder="slow/")
    began = time.monotonic()
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 20, done.stdout + done.stderr
    assert "closed before the work was done" in done.stderr
    assert "Run the same command again" in done.stderr
    assert time.monotonic() - began < 4.2 + 8
    assert not here.is_open()
    part = next((here.root / "pool").rglob("*.part"))
    assert 0 < part.stat().st_size < 6 << 20
    here.settings("")
    done = lab.run(*here.refresh_words(definition), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] < 6 << 20
    assert [record["state"] for record in here.records()] == ["closed", "closed"]


@pytest.mark.parametrize("who", ["command", "keeper"])
def test_killed_in_the_middle_it_closes_and_the_next_one_goes_on(lab, factory, who):
    here = factory()
    definition = here.locked({"long.tar": body(5, 5 << 20)}, folder="slow/")
    words = here.refresh_words(definition)
    process = lab.popen(*words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(lambda: arrived(here) and here.is_open())
    if who == "command":
        process.kill()
        wait_for(lambda: not here.is_open())  # the end of the pipe
    else:
        os.kill(int((here.root / "state/window/keeper.lock").read_text()), signal.SIGKILL)
    with process, process.stderr:
        said = process.stderr.read()
    if who == "keeper":
        assert process.returncode == 20, said
        assert "killed" in said
        assert here.is_open()  # until the kernel's own time, or the next command
    status = here.window("status")
    assert status.returncode == 0, status.stderr
    assert not here.is_open()
    (record,) = here.records()
    assert "death of the command" in record["closed_by"] if who == "command" else "killed" in record["closed_by"]
    done = lab.run(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] < 5 << 20


def test_rules_that_somebody_flushes_are_noticed_and_loaded_again_closed(lab, factory):
    here = factory()
    definition = here.locked({"long.tar": body(12, 8 << 20)}, folder="slow/")
    process = lab.popen(*here.refresh_words(definition), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for(lambda: arrived(here) and here.is_open())
    lab.run("nft", "delete", "table", "inet", here.table, check=True)  # as a reload of the machine's own rules does
    with process, process.stderr:
        said = process.stderr.read()
    assert process.returncode == 20, said
    assert "were removed by somebody else" in said
    assert here.reach("tcp", MIRROR, 80) == "refused"
    (record,) = here.records()
    assert record["state"] == "closed"
    assert record["closed_by"].startswith("a fault")


def test_a_refresh_shares_a_window_that_is_open_and_leaves_it_open(lab, factory):
    here = factory()
    definition = here.locked({"one.tar": body(6, 1000)})
    opened = here.open()
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 0, done.stderr
    assert f"{opened['id']} is open" in done.stderr
    assert here.is_open()
    assert here.ledger()[-1]["data"]["windows"] == [opened["id"]]


def test_a_refresh_waits_for_a_window_that_names_less_and_never_widens_it(lab, factory):
    lines = '[upstreams.debian]\naddress = "http://mirror.example.org"\nhosts = ["files.example.org:80"]\n'
    here = factory(upstreams=lines)
    definition = here.locked({"one.tar": body(7, 1000)})
    here.open("--host", "files.example.org", minutes=0.1)
    assert here.reach("tcp", MIRROR, 80) == "refused"
    process = lab.popen(*here.refresh_words(definition), stderr=subprocess.PIPE)
    time.sleep(1.5)
    assert here.reach("tcp", MIRROR, 80) == "refused"
    assert here.reach("tcp", FILES, 80) == "answered"
    with process, process.stderr:
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert "waiting for the end of the window" in said
    assert [[host["name"] for host in record["hosts"]] for record in here.records()] == [
        ["files.example.org"],
        ["files.example.org", "mirror.example.org"],
    ]


def test_names_that_change_in_the_middle_of_a_refresh(lab, factory):
    here = factory()
    definition = here.locked({"a.tar": body(8, 3 << 20), "b.tar": body(9, 1 << 20)}, folder="slow/")
    process = lab.popen(*here.refresh_words(definition), stderr=subprocess.PIPE)
    wait_for(lambda: any((here.root / "pool").rglob("*.part")))
    lab.zone(ZONE | {"mirror.example.org": {"A": ["10.0.0.1"]}})  # rebinding: not followed
    with process, process.stderr:
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert "10.0.0.1" not in json.dumps(here.records())


def test_without_a_window_the_record_says_so(lab, factory):
    here = factory()
    definition = here.locked({"one.tar": body(10, 1000)})
    here.settings('backend = "none"\nwhy = "the router does it"', f'[upstreams.debian]\naddress = "http://{MIRROR}"\n')
    done = lab.run(*here.refresh_words(definition))
    assert done.returncode == 0, done.stderr
    (record,) = here.records()
    assert (record["state"], record["backend"], record["why"]) == ("none", "none", "the router does it")
    assert record["hosts"][0]["name"] == MIRROR


def arrived(here) -> bool:
    """Whether something of the file is there that the next run can go on from."""
    return any(part.stat().st_size > 100_000 for part in (here.root / "pool").rglob("*.part"))


def wait_for(condition, patience: float = 30.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
