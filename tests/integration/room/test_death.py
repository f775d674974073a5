"""A room whose process was killed at work is cleaned up by the next start, whichever room that is for."""

# A test may wait for a short program.
# ruff: noqa: ASYNC220, ASYNC221

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from airlock.core.netns import NETNS_DIRECTORY
from airlock.room import namespace
from airlock.room.sealed import RUN, clean_stale

CGROUPS = Path("/sys/fs/cgroup")
SCRIPT = """
import asyncio, sys
from pathlib import Path
from airlock.core.progress import SilentReporter
from airlock.room import SealedRoom

class Nothing:
    def open(self, path):
        return None

async def main():
    async with SealedRoom.open("doomed", Path(sys.argv[1]), mirror=Nothing(), reporter=SilentReporter()) as room:
        build = asyncio.create_task(room.engine.podman("--url", room.engine.url, "build", "--no-cache", sys.argv[2]))
        while not room.report().containers:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        print(room._place.name, flush=True)
        await build

asyncio.run(main())
"""


class Said(list):
    def say(self, text):
        self.append(text)

    def task(self, title, total, *, unit="bytes"):
        raise NotImplementedError


@pytest.fixture
async def with_base(open_room, base):
    async with open_room() as room:
        return await base(room)


async def test_a_killed_room_is_cleaned_by_the_next_start(with_base, state, tmp_path, open_room, build):
    (tmp_path / "Dockerfile").write_text(f"FROM {with_base}\nRUN sleep 4711\n")
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, state, tmp_path], stdout=subprocess.PIPE, text=True)
    with process, process.stdout:
        name = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
    path = NETNS_DIRECTORY / name
    inhabitants = namespace.processes(path)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in inhabitants]
    assert any(b"sleep 4711" in command for command in commands)  # the build outlives its client
    said = Said()
    clean_stale(said)
    assert [text for text in said if "doomed" in text]
    assert not path.exists()
    assert not [pid for pid in inhabitants if _alive(pid)]
    assert not (RUN / name.removeprefix("airlock-")).exists()
    assert str(state) not in Path("/proc/mounts").read_text()
    container = json.loads((state / "runtime" / "containers.jsonl").read_text().splitlines()[-1])["id"]
    assert list(CGROUPS.rglob(container)) == []
    async with open_room() as room:  # and its storage is usable
        listed = await room.engine.podman("ps", "--all", "--external", "--quiet")
        result = await build(room, f"FROM {with_base}\nRUN echo alive\n")
    assert listed.stdout == b""
    assert result.returncode == 0


async def test_a_room_that_lives_is_left_alone(open_room):
    async with open_room() as room:
        clean_stale(Said())
        assert (await room.engine.podman("info")).returncode == 0


async def test_leaving_a_room_ends_builds_that_still_run(with_base, open_room, build):
    async with open_room() as room:
        name = room._place.name
        text = f"FROM {with_base}\nRUN sleep 4712\n"
        process = subprocess.Popen(
            room.command(["podman", "--url", room.engine.url, "build", "--no-cache", "-"]),
            env=room.engine.paths.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with process.stdin:
            process.stdin.write(text.encode())
        for _ in range(400):
            await asyncio.sleep(0.05)
            if room.report().containers:
                break
        assert room.report().containers
    process.wait()
    assert not (NETNS_DIRECTORY / name).exists()
    assert subprocess.run(["pgrep", "-f", "sleep 4712"], check=False, capture_output=True).stdout == b""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
