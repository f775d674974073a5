"""The listener of the room's seccomp filters: records each refused call and answers it with an error.

runc (≥ 1.1) installs the filter, takes its notification descriptor and sends it here (OCI runtime specification,
"seccomp notify"): one message with the container's state as JSON and the descriptor in SCM_RIGHTS. The kernel's side is
seccomp_unotify(2). A call is never let through, so it does not matter that arguments could change after they are read.
Should this process die, the kernel answers ENOSYS: still refused.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import fcntl
import os
import platform
import select
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from airlock.room.report import RefusedSocket, Tally

# struct seccomp_notif: id, pid, flags, then struct seccomp_data: nr, arch, instruction_pointer, args[6]
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
# struct seccomp_notif_resp: id, val, error, flags
_RESPONSE = struct.Struct("=QqiI")
_RECEIVE = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV: _IOWR('!', 0, 80 bytes)
_SEND = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND: _IOWR('!', 1, 24 bytes)
_MAX_STATE = 1 << 20  # bytes of the container's state
_MAX_DESCRIPTORS = 16
_PATIENCE = 10.0  # seconds that runc may take to send

_CALLS = {
    "x86_64": {41: "socket", 53: "socketpair"},
    "aarch64": {198: "socket", 199: "socketpair"},
}
_EVERYWHERE = {425: "io_uring_setup", 426: "io_uring_enter", 427: "io_uring_register"}
_FAMILIES = {int(value): value.name for value in socket.AddressFamily} | {40: "AF_VSOCK", 43: "AF_SMC", 44: "AF_XDP"}
_TYPES = {int(value): value.name for value in socket.SocketKind} | {10: "SOCK_PACKET"}
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class _State(msgspec.Struct):
    metadata: str = ""  # what the wrapper put into listenerMetadata: the container's id


class SeccompListener:
    """Listens at ``path`` for the filters of all containers of one room."""

    def __init__(self, path: Path, attribution: Callable[[], str]) -> None:
        self._path = path
        self._attribution = attribution
        self._tally: Tally[RefusedSocket] = Tally()
        self._listener: socket.socket | None = None
        self._filters: dict[int, str] = {}  # descriptor → image whose container it is
        self.images: dict[str, str] = {}  # container → image, as of the container's start
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = _EVERYWHERE | _CALLS.get(platform.machine(), {})

    @property
    def refused(self) -> list[RefusedSocket]:
        """Every refused call so far, counted."""
        return self._tally.entries

    @property
    def dropped(self) -> int:
        """Calls beyond the bound of the record."""
        return self._tally.dropped

    async def start(self) -> None:
        """Bind the socket and wait for runc."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        self._path.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    async def stop(self) -> None:
        """Let go of all filters; what still runs gets ENOSYS from the kernel."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for task in self._tasks:
            task.cancel()
        for descriptor in list(self._filters):
            self._forget(descriptor)

    def _accept(self) -> None:
        assert self._listener is not None
        with contextlib.suppress(BlockingIOError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._take(connection, self._attribution()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _take(self, connection: socket.socket, image: str) -> None:
        """Take descriptors and container id out of runc's message."""
        loop = asyncio.get_running_loop()
        size = array.array("i").itemsize
        state = b""
        with connection:
            while len(state) <= _MAX_STATE:
                try:
                    data, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(_MAX_DESCRIPTORS * size))
                except BlockingIOError:
                    await _readable(connection)
                    continue
                for level, kind, body in ancillary:
                    if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                        descriptors = array.array("i", body[: len(body) - len(body) % size])
                        for descriptor in descriptors:
                            self._filters[descriptor] = image
                            loop.add_reader(descriptor, self._notified, descriptor)
                if not data:
                    break
                state += data
        with contextlib.suppress(msgspec.DecodeError):
            self.images[msgspec.json.decode(state, type=_State).metadata] = image

    def _notified(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        events = dict(poll.poll(0)).get(descriptor, 0)
        if not events & select.POLLIN:
            if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
                self._forget(descriptor)  # the last process of the container has ended
            return
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(descriptor, _RECEIVE, buffer)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):  # the caller was killed meanwhile
                self._forget(descriptor)
            return
        identifier, pid, _, call, _, _, *arguments = _NOTIFICATION.unpack(buffer)
        entry, number = describe(self._calls.get(call, f"system call {call}"), arguments)
        self._tally.add(msgspec.structs.replace(entry, program=_program(pid), image=self._filters[descriptor]))
        with contextlib.suppress(OSError):  # ENOENT: the caller was killed meanwhile
            fcntl.ioctl(descriptor, _SEND, _RESPONSE.pack(identifier, 0, -number, 0))

    def _forget(self, descriptor: int) -> None:
        if descriptor in self._filters:
            del self._filters[descriptor]
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)


def describe(call: str, arguments: Sequence[int]) -> tuple[RefusedSocket, int]:
    """What was asked for, in words, and the error number that a kernel without it would give.

    Args:
        call: name of the system call.
        arguments: its six arguments as the registers held them; the kernel looks at 32 bits of each.
    """
    if not call.startswith("socket"):
        return RefusedSocket(call=call, family="", type="", protocol=0, program="", image=""), errno.ENOSYS
    family, kind, protocol = (value & 0xFFFFFFFF for value in arguments[:3])
    kind &= 0xF
    number = errno.EAFNOSUPPORT
    if family in _INTERNET and kind == socket.SOCK_RAW:
        number = errno.EPERM  # what a program without CAP_NET_RAW gets
    elif family in _INTERNET and kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        number = errno.EPROTONOSUPPORT
    entry = RefusedSocket(
        call=call,
        family=_FAMILIES.get(family, str(family)),
        type=_TYPES.get(kind, str(kind)),
        protocol=protocol,
        program="",
        image="",
    )
    return entry, number


def _program(pid: int) -> str:
    try:
        with Path(f"/proc/{pid}/cmdline").open("rb") as stream:
            return stream.read(300).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), _PATIENCE)
    finally:
        loop.remove_reader(connection)
