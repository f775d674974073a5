"""The real Zuul as a box: where it listens, and how it ends, whoever started it was killed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from boxes.processes import Process
from boxes.zuul_install import install
from tests.integration.boxes.listening import addresses
from tests.integration.faults.airlock_runs import done
from tests.integration.zuul.conftest import World

ROOT = Path(__file__).parents[3]
START = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from boxes.gerrit import Gerrit
from boxes.network import Network
from boxes.zuul import Zuul, ZuulPorts
network = Network({network!r})
review = Gerrit(Path({review!r}), port=24000, ssh_port=24001, network=network)
Zuul(Path({zuul!r}), review.access, ports=ZuulPorts.following(24010), projects={projects!r}, labels={labels!r},
     tenant={tenant!r}, network=network).start()
"""


def memory(process: Process) -> int:
    """Its proportional set size in bytes; 0 for one that has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def on_disk(*folders: Path) -> int:
    """Bytes of all files below."""
    return sum(path.lstat().st_size for folder in folders for path in folder.rglob("*") if not path.is_dir())


def test_it_takes_no_more_than_is_said(world: World, record_testsuite_property: Callable[[str, object], None]) -> None:
    zuul = {box.name: sum(map(memory, box.members())) for box in world.zuul.boxes}
    review = sum(map(memory, world.review.members()))
    installed = install()
    programs = on_disk(installed.programs.parent, installed.ansible)
    told = ", ".join(f"{name.removeprefix('zuul-')} {size >> 20}" for name, size in zuul.items())
    record_testsuite_property("memory", f"Zuul {sum(zuul.values()) >> 20} MiB ({told}), Gerrit {review >> 20} MiB")
    record_testsuite_property("disk", f"programs {programs >> 20} MiB, data {on_disk(world.zuul.folder) >> 20} MiB")
    record_testsuite_property("time", f"from nothing to a loaded tenant {world.seconds:.0f} s, programs being there")
    assert sum(zuul.values()) < 2 << 30
    assert programs < 1 << 30


def test_it_listens_on_loopback_alone(world: World) -> None:
    for box in (*world.zuul.boxes, world.review):
        listening = addresses(box)
        assert listening or not box.ports, box.name
        assert all(address.startswith("127.") for address in listening), (box.name, listening)


def test_its_secrets_are_for_their_owner_alone(world: World) -> None:
    held = [world.zuul.config, *world.zuul.folder.rglob("secrets/*"), *world.zuul.folder.rglob("*.key")]
    assert len(held) > 5
    for path in held:
        if path.suffix != ".pub" and not path.is_dir():
            assert path.stat().st_mode & 0o077 == 0, path
    secrets = [world.zuul.secret("operators"), world.zuul.database.login.password, world.review.access.zuul.password]
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        assert not any(secret in line for secret in secrets), process
    for log in world.zuul.folder.rglob("*.log"):
        text = log.read_text("utf-8", "replace")
        assert not any(secret in text for secret in secrets), log


def test_killed_while_it_starts_it_is_started_again_and_stopping_leaves_nothing(world: World) -> None:
    zuul = world.zuul
    started = {process for box in zuul.boxes for process in box.members()}
    zuul.stop()
    assert not any(process.alive for process in started)
    assert not [one for one in zuul.network.listeners() if one.port in range(24010, 24020)]
    script = START.format(
        path=[str(ROOT), str(ROOT / "src")], network=zuul.network.name, review=str(world.review.folder),
        zuul=str(zuul.folder), projects=zuul.projects, labels=zuul.labels, tenant=zuul.tenant,
    )  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script]) as starter:
        while not zuul.scheduler.running:
            assert starter.poll() is None
            time.sleep(0.1)
        starter.send_signal(signal.SIGKILL)
    zuul.start()
    assert zuul.running
    done(world.trigger("after the kill"))
