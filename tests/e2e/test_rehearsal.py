"""``validate --rehearse`` on the demo's factory: named what was overlooked, gone on after a kill, done once."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
IMAGE = "base"

_RUN = "from airlock.cli.main import main; main()"
_WITHOUT = f"""
from airlock.build.mirror import BundleMirror
served = BundleMirror.open
BundleMirror.open = lambda self, path: None if "{{victim}}" in path else served(self, path)
{_RUN}
"""


@pytest.fixture(scope="module")
def factory(demo: Path) -> Path:
    """The demo's, without what an earlier test run rehearsed; the base image need not be made once more."""
    place = demo / "factory"
    subprocess.run([*command(place, _RUN), "--clean"], check=True, capture_output=True)
    shutil.copytree(demo / "site/cache/base", place / "rehearsal/base")
    return place


def command(factory: Path, code: str) -> list[str]:
    words = ["validate", "--rehearse", "--factory", str(factory), str(factory / "definition")]
    return [sys.executable, "-c", code, *words]


def rehearse(factory: Path, code: str = _RUN) -> tuple[int, dict[str, Any]]:
    result = subprocess.run([*command(factory, code), IMAGE, "--json"], capture_output=True, text=True, check=False)
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def state(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["asked"] == [IMAGE]
    return next(image for image in answer["images"] if image["name"] == IMAGE)


def victim(factory: Path) -> str:
    """Path, on the mirror, of a package that base installs."""
    lines = [json.loads(line) for line in (factory / "definition/airlock.lock").read_text().splitlines()]
    taken = {
        ident
        for line in lines
        if line.get("image") == IMAGE and line.get("kind") == "apt"
        for ident in line["artifacts"]
    }
    artifact = next(line for line in lines if line["type"] == "artifact" and line["id"] in taken)
    return f"{artifact['sha256']}/{artifact['file']}"


def test_a_demand_that_the_proof_overlooked_is_named(factory: Path) -> None:
    lost = victim(factory)
    code, answer = rehearse(factory, _WITHOUT.format(victim=lost))
    assert code == 9
    image = state(answer)
    assert image["state"] == "failed"
    assert [line for line in image["rehearsed"]["asked"] if lost in line and "which the lock does not hold" in line]
    assert (factory / "rehearsal/logs" / image["rehearsed"]["log"]).is_file()


def test_killed_at_any_moment_it_goes_on_and_what_is_built_is_not_built_again(factory: Path) -> None:
    began = [*command(factory, _RUN), IMAGE]
    with subprocess.Popen(began, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith(f"{IMAGE}: building"):
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    code, answer = rehearse(factory)
    assert code == 0
    first = state(answer)
    assert (first["state"], first["now"]) == ("built", True)
    code, answer = rehearse(factory)
    again = state(answer)
    assert code == 0
    assert (again["state"], again["now"]) == ("built", False)
    assert again["rehearsed"] == first["rehearsed"]
    key = hashlib.sha256(str((factory / "rehearsal/room").resolve()).encode()).hexdigest()[:8]
    assert not Path(f"/run/netns/airlock-{key}").exists()


@pytest.mark.full
def test_an_image_rehearsed_is_the_image_that_the_site_built(factory: Path, record: dict[str, Any]) -> None:
    result = subprocess.run(
        [*command(factory, _RUN), "keystone-ssh", "--json"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    rehearsed = {
        image["name"]: image["rehearsed"]["id"] for image in answer["images"] if image["name"] in answer["asked"]
    }
    built = {image["name"]: image["id"] for image in record["images"]}
    assert rehearsed == {name: built[name] for name in rehearsed}
    assert set(rehearsed) == {"base", "openstack-base", "keystone-base", "keystone-ssh"}


def test_what_was_rehearsed_is_in_the_ledger(factory: Path) -> None:
    entries = [json.loads(line) for line in (factory / "ledger.jsonl").read_text().splitlines()]
    states = [entry["data"]["images"][IMAGE] for entry in entries if entry["verb"] == "rehearse"]
    assert states[0] == "failed"
    assert "built" in states
