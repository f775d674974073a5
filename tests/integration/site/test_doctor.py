"""Doctor on a real machine, whole and with single things taken away in a mount namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes programs away, which wants root")

RUN = "import sys, typer; from airlock.cli.doctor import doctor; app = typer.Typer(); app.command()(doctor); app()"
TOOL = 11


def doctor(*arguments, before=(), cwd="/"):
    command = [*before, sys.executable, "-c", RUN, *arguments, "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, check=False)


def states(result):
    return {check["name"]: check for check in json.loads(result.stdout)["checks"]}


def without(*paths):
    """Words before a command that make it find empty, unusable files in place of ``paths``."""
    script = "".join(f"mount --bind /dev/null {path}; " for path in paths)
    return ["unshare", "--mount", "/bin/sh", "-ec", script + 'exec "$@"', "sh"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    began = time.monotonic()
    result = doctor("--at", str(tmp_path_factory.mktemp("site")))
    return result, time.monotonic() - began


def test_a_machine_that_has_everything_passes(whole):
    result, _ = whole
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["missing"] == {"factory": [], "site": []}


def test_the_rules_are_not_only_loaded_but_seen_to_count(whole):
    assert "refuse and count" in states(whole[0])["packet rules (nftables)"]["found"]


def test_it_takes_seconds_and_leaves_nothing(whole):
    assert whole[1] < 10  # three on an idle machine
    assert "airlock-doctor" not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert "airlock-doctor" not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize(
    ("program", "environment", "package"),
    [
        ("/usr/bin/bwrap", "factory", "bubblewrap"),
        ("/usr/bin/podman", "site", "podman"),
        ("/usr/sbin/runc", "site", "runc"),
        ("/usr/sbin/nft", "site", "nftables"),
    ],
)
def test_a_program_taken_away_is_named_with_its_package(program, environment, package):
    result = doctor(f"--{environment}", before=without(program))
    assert result.returncode == TOOL
    check = states(result)[Path(program).name]
    assert check["state"] == "missing"
    assert package in check["remedy"]


def test_a_factory_does_not_mind_what_only_a_site_needs():
    assert doctor("--factory", before=without("/usr/bin/podman")).returncode == 0


def test_an_optional_program_is_a_warning():
    result = doctor("--site", before=without("/usr/bin/docker-registry"))
    assert result.returncode == 0
    assert states(result)["docker-registry"]["state"] == "warning"


def test_a_missing_keyring_is_named():
    result = doctor("--factory", before=without("/usr/share/keyrings/debian-archive-keyring.gpg"))
    assert result.returncode == TOOL
    assert states(result)["keyring debian-archive-keyring.gpg"]["state"] == "missing"


def test_a_plain_user_is_told_what_could_not_be_checked():
    result = doctor("--site", before=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    if not result.stdout:
        pytest.skip(f"a plain user cannot read this Python: {result.stderr[-200:]}")
    assert result.returncode == TOOL
    found = states(result)
    assert found["root"]["state"] == "missing"
    assert found["a container"]["state"] == "warning"
    assert "could not be checked" in found["podman's storage"]["found"]


def test_a_full_disk_is_told(tmp_path):
    small = ["unshare", "--mount", "/bin/sh", "-ec", f'mount -t tmpfs -o size=1m none {tmp_path}; exec "$@"', "sh"]
    result = doctor("--factory", "--at", str(tmp_path), before=small)
    assert result.returncode == TOOL
    assert states(result)["space for a factory"]["state"] == "missing"
