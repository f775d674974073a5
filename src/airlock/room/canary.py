"""The canary: before each build every known way out is tried in its place, and must be refused and recorded.

Most of it runs in a real build container of the room, started through the engine's API as Kolla's are. Its image holds
nothing but this machine's perl and the libraries that it is linked with, so it needs no base image and says the same
for any. Raw packets, which containers may not even send, are sent by a process of root's in the room's network
namespace, to show that the counters see those as well.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import platform
import re
import secrets
import shutil
import socket
import struct
import tarfile
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from airlock.core.errors import RoomError, ToolError
from airlock.core.files import write_file
from airlock.core.process import find_tool, last_lines
from airlock.core.process import run as run_command
from airlock.engine.podman import Podman
from airlock.room import nft
from airlock.room.names import Names
from airlock.room.namespace import Namespace
from airlock.room.report import CanaryAttempt, CanaryResult, NameQuery, PacketCount, RefusedSocket
from airlock.room.seccomp import SeccompListener

IMAGE = "(canary)"  # stands in records where an image's name would
_REPOSITORY = "localhost/airlock/canary"
_TIMEOUT = 180.0  # seconds for the canary's build; each attempt has 5
_SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
_LINKED = re.compile(r"(/\S+) \(0x[0-9a-f]+\)")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One way out. ``order`` is for ``canary.pl``; one of the others says where its trace must be."""

    what: str
    order: str
    packet: tuple[str, str, int | None] | None = None  # address, protocol, port
    name: str | None = None
    socket: tuple[str, str, str] | None = None  # call, family, type


def attempts(nonce: str) -> list[Attempt]:
    """What is tried in the build container. Addresses are those for documentation (RFC 5737, RFC 3849)."""
    name = f"airlock-canary-{nonce}.invalid"
    number = _SOCKET_CALL[platform.machine()]
    made = [
        _connect("TCP over IPv4", socket.SOCK_STREAM, "192.0.2.1", 443),
        _connect("TCP over IPv6", socket.SOCK_STREAM, "2001:db8::1", 443),
        _connect("UDP over IPv4", socket.SOCK_DGRAM, "192.0.2.1", 53),
        _connect("UDP over IPv6", socket.SOCK_DGRAM, "2001:db8::1", 53),
        _connect("a cloud's metadata service", socket.SOCK_STREAM, "169.254.169.254", 80),
        _connect("multicast", socket.SOCK_DGRAM, "224.0.0.251", 5353),
        Attempt(what="looking up a name", order=f"name,{name}", name=name),
        _socket("raw ICMP", "AF_INET", "SOCK_RAW", f"socket,{_number(socket.AF_INET)},3,1"),
        _socket("raw ICMPv6", "AF_INET6", "SOCK_RAW", f"socket,{_number(socket.AF_INET6)},3,58"),
        _socket("AF_VSOCK", "AF_VSOCK", "SOCK_STREAM", "socket,40,1,0"),
        _socket("AF_VSOCK behind high bits", "AF_VSOCK", "SOCK_DGRAM", f"call,{number},{(1 << 32) + 40},2,0"),
        _socket("AF_PACKET", "AF_PACKET", "SOCK_RAW", "socket,17,3,768"),
        _socket("AF_PACKET by SOCK_PACKET", "AF_INET", "SOCK_PACKET", "socket,2,10,768"),
        _socket("AF_BLUETOOTH", "AF_BLUETOOTH", "SOCK_RAW", "socket,31,3,1"),
        _socket("SMC by IPPROTO_SMC", "AF_INET", "SOCK_STREAM", "socket,2,1,256"),
    ]
    return [*made, Attempt(what="io_uring", order="call,425,1,buffer", socket=("io_uring_setup", "", ""))]


def raw_attempts() -> list[Attempt]:
    """What root tries in the network namespace, outside any container."""
    raw4, raw6 = f"send,{_number(socket.AF_INET)},3", f"send,{_number(socket.AF_INET6)},3"
    address4, address6 = _address("192.0.2.1", 0), _address("2001:db8::1", 0)
    return [
        Attempt(what="raw ICMP by root", order=f"{raw4},1,{address4}", packet=("192.0.2.1", "icmp", None)),
        Attempt(what="GRE by root", order=f"{raw4},47,{address4}", packet=("192.0.2.1", "gre", None)),
        Attempt(what="raw ICMPv6 by root", order=f"{raw6},58,{address6}", packet=("2001:db8::1", "ipv6-icmp", None)),
    ]


async def run(engine: Podman, place: Namespace, names: Names, seccomp: SeccompListener) -> CanaryResult:
    """Try everything and compare with what the room recorded.

    Raises:
        RoomError: an attempt got out, was not refused at once, or left no record; or the canary could not run.
    """
    before = nft.read(place.net_prefix)
    nonce = secrets.token_hex(6)
    tries = attempts(nonce)
    outcomes = _outcomes(await _in_container(engine, nonce, [attempt.order for attempt in tries]))
    between = nft.read(place.net_prefix)
    raw = raw_attempts()
    raw_outcomes = _outcomes(_in_process(place, [attempt.order for attempt in raw]))
    after = nft.read(place.net_prefix)
    judged = [
        *judge(tries, outcomes, "build container", between.since(before), names.queries, seccomp.refused),
        *judge(raw, raw_outcomes, "process", after.since(between), (), ()),
    ]
    result = CanaryResult(attempts=tuple(judged), packets_counted=after.since(before).packets)
    require(result)
    return result


def judge(
    tries: Sequence[Attempt], outcomes: dict[int, str], where: Literal["build container", "process"],
    packets: PacketCount, queries: Iterable[NameQuery], sockets: Iterable[RefusedSocket],
) -> list[CanaryAttempt]:  # fmt: skip
    """What became of each attempt, by the canary's own word and by what the room recorded."""
    counted = {(entry.daddr, entry.protocol, entry.port) for entry in packets.refused}
    asked = {query.name for query in queries if query.kind == "refused"}
    stopped = {(entry.call, entry.family, entry.type) for entry in sockets if entry.image == IMAGE}
    judged = []
    for number, attempt in enumerate(tries):
        outcome = outcomes.get(number, "did not run")
        seen: Literal["nft", "dns", "seccomp", "kernel", ""] = ""
        if attempt.packet in counted:
            seen = "nft"
        elif attempt.name in asked:
            seen = "dns"
        elif attempt.socket in stopped:
            seen = "seccomp"
        refused = outcome == "unknown-name" or outcome.isdigit()
        how = errno.errorcode.get(int(outcome), outcome) if outcome.isdigit() else outcome
        judged.append(CanaryAttempt(what=attempt.what, where=where, refused=refused, how=how, seen=seen))
    return judged


def require(result: CanaryResult) -> None:
    """Raises RoomError unless everything was refused and recorded."""
    failed = [entry for entry in result.attempts if not (entry.refused and entry.seen)]
    if failed or not result.attempts:
        lines = [
            f"{entry.what} ({entry.where}): {entry.how}{'' if entry.seen else ', and nothing recorded it'}"
            for entry in failed
        ]
        raise RoomError(
            "the room is not sealed; the canary tried to get out: " + ("; ".join(lines) or "nothing was tried"),
            remedy="Nothing was built. `airlock doctor` checks the kernel, runc (1.1 or newer) and libseccomp (2.5).",
        )


async def _in_container(engine: Podman, nonce: str, orders: list[str]) -> str:
    image = await _image(engine)
    context = engine.paths.temporary / f"canary-{nonce}"
    command = json.dumps(["/usr/bin/perl", "/canary.pl", *orders])
    write_file(context / "Dockerfile", f"FROM {image}\nRUN {command}\n".encode(), durable=False)
    tag = f"{_REPOSITORY}:run-{nonce}"
    try:
        result = await engine.podman(
            "--url", engine.url, "build", "--no-cache", "--pull-never", "--force-rm", "--tag", tag, context,
            timeout=_TIMEOUT,
        )  # fmt: skip
    except TimeoutError:
        raise RoomError(f"the canary's container did not end within {_TIMEOUT:.0f} s") from None
    finally:
        shutil.rmtree(context, ignore_errors=True)
    if result.returncode != 0:
        said = [line for line in result.stdout.decode("utf-8", "replace").splitlines() if not line.startswith("STEP")]
        raise RoomError(
            "the canary could not run in a build container: " + ("\n".join(said[-6:]) or last_lines(result, 3)),
            remedy="Nothing was built. `airlock doctor` checks what containers need on this machine.",
        )
    await engine.podman("rmi", "--force", tag)
    return result.stdout.decode("utf-8", "replace")


def _in_process(place: Namespace, orders: list[str]) -> str:
    script = resources.files("airlock.room").joinpath("canary.pl").read_text("utf-8")
    result = run_command([*place.net_prefix, find_tool("perl", "perl-base"), "-e", script, *orders], timeout=60)
    return result.stdout.decode("utf-8", "replace")


async def _image(engine: Podman) -> str:
    """The canary's image; made when the storage has none for this perl and script."""
    content = rootfs()
    name = f"{_REPOSITORY}:{hashlib.sha256(content).hexdigest()[:16]}"
    if (await engine.podman("image", "exists", name)).returncode != 0:
        tar = engine.paths.temporary / "canary.tar"
        write_file(tar, content, durable=False)
        try:
            await engine.podman("import", tar, name, check=True)
        finally:
            tar.unlink()
    return name


def rootfs() -> bytes:
    """A tar archive of perl, what it is linked with, and the script; the same bytes for the same files.

    Raises:
        ToolError: there is no perl, or ldd does not say what it needs.
    """
    perl = Path(find_tool("perl", "perl-base")).resolve()
    linked = run_command(["ldd", perl], check=True).stdout.decode()
    libraries = _LINKED.findall(linked)
    if not libraries:
        raise ToolError(f"ldd does not say what {perl} needs", remedy="apt-get install --reinstall libc-bin perl-base")
    script = resources.files("airlock.room").joinpath("canary.pl").read_bytes()
    members = {"usr/bin/perl": perl.read_bytes(), "canary.pl": script}
    members |= {library.lstrip("/"): Path(library).read_bytes() for library in libraries}
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(members[name]), 0o755
            archive.addfile(member, io.BytesIO(members[name]))
    return stream.getvalue()


def _outcomes(text: str) -> dict[int, str]:
    found = {}
    for line in text.splitlines():
        mark, _, rest = line.partition("\t")
        number, _, outcome = rest.partition("\t")
        if mark.endswith("CANARY") and number.isdigit():
            found[int(number)] = outcome.strip()
    return found


def _connect(what: str, kind: socket.SocketKind, address: str, port: int) -> Attempt:
    protocol, transport = (6, "tcp") if kind == socket.SOCK_STREAM else (17, "udp")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    order = f"connect,{_number(family)},{_number(kind)},{protocol},{_address(address, port)}"
    return Attempt(what=what, order=order, packet=(address, transport, port))


def _socket(what: str, family: str, kind: str, order: str) -> Attempt:
    return Attempt(what=what, order=order, socket=("socket", family, kind))


def _number(value: int) -> int:
    return int(value)


def _address(address: str, port: int) -> str:
    """``struct sockaddr_in`` or ``sockaddr_in6`` in hexadecimal."""
    if ":" in address:
        body = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0)
        return (body + socket.inet_pton(socket.AF_INET6, address) + bytes(4)).hex()
    return (struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(address) + bytes(8)).hex()
