"""The sealed room as a whole: open it, build in it, read what it saw, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from airlock.core.errors import AirlockError, StateError
from airlock.core.files import exclusive, write_file
from airlock.core.process import run as run_command
from airlock.core.progress import Reporter
from airlock.engine.podman import CONFIGURATION, EnginePaths, Podman, configure
from airlock.room import canary, namespace, nft
from airlock.room.gateway import MIRROR_NAME, Gateway, Mirror
from airlock.room.names import Names
from airlock.room.namespace import Namespace
from airlock.room.report import CanaryResult, PacketCount, RoomReport
from airlock.room.runtime import BUILD_LOGS, Mount, Runtime, forget_containers
from airlock.room.seccomp import SeccompListener

RUN = Path("/run/airlock")  # short paths for sockets; empty after a reboot, as rooms are

_FILES = {
    Path("/etc/resolv.conf"): "nameserver 127.0.0.1\noptions attempts:1 timeout:5\n",
    Path("/etc/hosts"): "127.0.0.1 localhost\n::1 localhost\n",
    Path("/etc/nsswitch.conf"): "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
    "protocols: files\nservices: files\nethers: files\nrpc: files\n",
}


class RoomState(msgspec.Struct, frozen=True, kw_only=True):
    """``room.json`` in a room's run folder: what there is to clean up should its process die."""

    name: str
    namespace: str
    state: str


class SealedRoom:
    """A live room. Made by :meth:`open` alone.

    Attributes:
        engine: podman in the room: its API socket's address (``engine.url``) and command.
        image: name of the image being built now; whoever drives the build sets it, records carry it.
    """

    def __init__(
        self, name: str, place: Namespace, engine: Podman, gateway: Gateway, names: Names, runtime: Runtime,
        seccomp: SeccompListener, attribution: Attribution,
    ) -> None:  # fmt: skip
        self.name = name
        self.engine = engine
        self._place = place
        self._gateway = gateway
        self._names = names
        self._runtime = runtime
        self._seccomp = seccomp
        self._attribution = attribution
        self._baseline = PacketCount()
        self._canary: CanaryResult | None = None

    @property
    def image(self) -> str:
        """Name of the image being built now."""
        return self._attribution.image

    @image.setter
    def image(self, name: str) -> None:
        self._attribution.image = name

    @property
    def failures(self) -> list[AirlockError]:
        """Why files of the bundle could not be served, the first of them."""
        return self._gateway.failures

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        name: str,
        state: Path,
        *,
        mirror: Mirror,
        reporter: Reporter,
        attribution: Callable[[], str] | None = None,
        mounts: tuple[Mount, ...] = BUILD_LOGS,
    ) -> AsyncIterator[SealedRoom]:
        """Make a sealed room and take it down afterwards, with every process in it.

        Args:
            name: what the room is for (a build id); for people.
            state: the room's folder on disk. The engine's images stay in it between rooms; one room at a time.
            mirror: what the gateway serves.
            attribution: says which image is being built; without it :attr:`image` does.
            mounts: mounts for every container of the room.

        Raises:
            RoomError: not root, or the kernel refuses something the room needs.
            StateError: another process has a room in ``state``.
            ToolError: a program is missing.
        """
        namespace.require_root()
        await asyncio.to_thread(clean_stale, reporter)
        state = state.resolve()
        key = hashlib.sha256(str(state).encode()).hexdigest()[:8]
        paths = EnginePaths(
            root=state / "storage",
            temporary=state / "temporary",
            configuration=state / "configuration",
            run=RUN / key,
            log=state / "podman.log",
        )
        speaker = Attribution(attribution)
        with exclusive(RUN / f"{key}.lock", f"the room at {state}"):
            remains = RoomState(name=name, namespace=f"airlock-{key}", state=str(state))
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(_remove, paths.run, remains)
                _prepare(paths, remains)
                runtime = Runtime(state / "runtime", paths.run / "seccomp.sock", paths.run / "runc", mounts)
                runtime.install()
                configure(paths, runtimes={"airlock": runtime.program}, runtime="airlock")
                place = await asyncio.to_thread(namespace.create, remains.namespace, _binds(paths))
                stack.push_async_callback(asyncio.to_thread, place.close)
                nft.load(place.net_prefix)
                gateway = Gateway(mirror, speaker)
                names = Names(speaker, runtime.hostnames)
                seccomp = SeccompListener(paths.run / "seccomp.sock", speaker)
                for part in (gateway, names):
                    stack.push_async_callback(part.stop)
                    await part.start(place)
                stack.push_async_callback(seccomp.stop)
                await seccomp.start()
                engine = Podman(paths, place.command)
                stack.push_async_callback(engine.stop)
                await engine.start()
                reporter.say(f"sealed room {remains.namespace}: loopback only, podman at {paths.socket}")
                yield cls(name, place, engine, gateway, names, runtime, seccomp, speaker)

    def command(self, arguments: Sequence[str | Path], cwd: Path | None = None) -> list[str]:
        """``arguments`` as a command line that runs in the room, with its network, resolver and engine configuration.

        With no arguments: the words to put before a command.
        """
        return self._place.command(arguments, cwd)

    def snapshot(self) -> PacketCount:
        """All packets refused since the room was made, the canary's among them."""
        return nft.read(self._place.net_prefix)

    async def run_canary(self) -> CanaryResult:
        """Try every known way out from a build container; to be done before each build.

        Raises:
            RoomError: something got out, or was refused without being counted. There must be no build then.
        """
        self.image = canary.IMAGE
        try:
            self._canary = await canary.run(self.engine, self._place, self._names, self._seccomp)
        finally:
            self.image = ""
        self._baseline = self.snapshot()
        return self._canary

    def report(self) -> RoomReport:
        """What the room saw until now. Whatever the canary did is apart from the rest."""
        packets = self.snapshot().since(self._baseline)
        queries = [query for query in self._names.queries if query.image != canary.IMAGE]
        return RoomReport(
            canary=self._canary,
            refused_packets=packets.packets,
            refused=packets.refused,
            refused_names=tuple(query for query in queries if query.kind == "refused"),
            noise_names=tuple(query for query in queries if query.kind == "noise"),
            refused_sockets=tuple(entry for entry in self._seccomp.refused if entry.image != canary.IMAGE),
            served=self._gateway.served,
            missing=self._gateway.missing,
            containers=tuple(
                msgspec.structs.replace(start, image=self._seccomp.images.get(start.id, ""))
                for start in self._runtime.containers()
            ),
            records_dropped=self._gateway.dropped + self._names.dropped + self._seccomp.dropped,
        )


class Attribution:
    """Says which image is being built: what was set, else what the given function says."""

    def __init__(self, function: Callable[[], str] | None = None) -> None:
        self.image = ""
        self._function = function

    def __call__(self) -> str:
        """The image's name, or an empty string."""
        return self.image or (self._function() if self._function else "")


def clean_stale(reporter: Reporter) -> int:
    """Take down rooms whose process has died: their processes, namespaces and sockets. Returns how many.

    The kernel drops a dead process's lock, so that a lock that can be had means that nobody owns the room.
    """
    cleaned = 0
    for record in sorted(RUN.glob("*/room.json")):
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(exclusive(RUN / f"{record.parent.name}.lock", "a room"))
                remains = msgspec.json.decode(record.read_bytes(), type=RoomState)
            except (StateError, OSError, msgspec.DecodeError):
                continue
            killed = namespace.destroy(remains.namespace)
            _remove(record.parent, remains)
            reporter.say(f"cleaned up the room of {remains.name}, whose process had died ({killed} processes ended)")
            cleaned += 1
    return cleaned


def _prepare(paths: EnginePaths, remains: RoomState) -> None:
    namespace.destroy(remains.namespace)
    _remove(paths.run, remains)
    paths.run.mkdir(parents=True, mode=0o700)
    write_file(paths.run / "room.json", msgspec.json.encode(remains), durable=False)


def _remove(run: Path, remains: RoomState) -> None:
    """Remove containers' traces, mounts and the run folder.

    What the engine mounted went with its namespace; tools that worked on its storage from outside leave mounts here.
    """
    forget_containers(run / "runc")
    places = tuple(f"{directory}/" for directory in (run, remains.state))
    with Path("/proc/self/mounts").open(encoding="utf-8", errors="surrogateescape") as stream:
        mounted = [line.split(" ")[1].encode().decode("unicode_escape") for line in stream]
    for target in reversed([target for target in mounted if target.startswith(places)]):
        run_command(["umount", "--lazy", target])
    shutil.rmtree(run, ignore_errors=True)


def _binds(paths: EnginePaths) -> dict[Path, Path]:
    """Files of the room's own, by what they are mounted over."""
    binds = {CONFIGURATION: paths.configuration}
    for target, text in _FILES.items():
        source = paths.configuration / f"room-{target.name}"
        write_file(source, text.encode(), durable=False)
        binds[target] = source
    return binds


__all__ = ["MIRROR_NAME", "SealedRoom", "clean_stale"]
