"""One server: its folder, its ports, its command line, and how it is known to be ready."""

from __future__ import annotations

import abc
import contextlib
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGTERM, Signals
from types import TracebackType
from typing import ClassVar, TypeVar

import msgspec

from airlock.core.errors import AirlockError, SpaceError, StateError, ToolError
from airlock.core.files import exclusive, require_space, write_file
from airlock.core.process import clean_environment, run
from airlock.core.space import space_error
from boxes.network import HOST, Network
from boxes.processes import MARK, Process, belonging, end, look

STARTED = "running.json"
LOCK = ".lock"
LOG_LINES = 12  # of a log, in an error
_LOG_TAIL = 16 << 10  # bytes of a log that are read for them
B = TypeVar("B", bound="Box")


class Started(msgspec.Struct, frozen=True):
    """What ``running.json`` in a box's folder tells of the server that was started there.

    Attributes:
        name: the kind of server.
        process: its first process.
        command: its command line; another one asks for another server.
        ports: of 127.0.0.1, in the network namespace ``network`` (empty: the machine's own).
        network: name of the namespace.
        namespace: inode of the namespace; one that was made anew has another.
        log: what it says on standard output and standard error.
        stop_signal: what asks it to end.
        grace: seconds that it has for that.
    """

    name: str
    process: Process
    command: list[str]
    ports: list[int]
    network: str
    namespace: int
    log: str
    stop_signal: int
    grace: float


class Box(abc.ABC):
    """A server on this machine. A context manager: started on entry, stopped on leaving.

    A kind of server is a subclass that says ``command``, and where it needs them ``prepare``, ``ready``, ``bootstrap``.

    Args:
        folder: everything that it keeps; made when missing. Deleting it while the box is stopped forgets the server.
        ports: TCP ports of 127.0.0.1 that it listens on.
        network: where it lives.
    """

    name: ClassVar[str]  # for people, and of its log
    deadline: ClassVar[float] = 60.0  # seconds from its start until it is ready
    grace: ClassVar[float] = 20.0  # seconds to end by itself
    stop_signal: ClassVar[Signals] = SIGTERM
    needed: ClassVar[int] = 64 << 20  # bytes of disk that it takes at its start

    def __init__(self, folder: Path, *, ports: Sequence[int], network: Network = HOST) -> None:
        self.folder = folder.absolute()
        self.ports = tuple(ports)
        self.network = network
        self._spawned = 0.0  # when, by the clock of files

    @abc.abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Its command line; it stays in the foreground. Called after :meth:`prepare`."""

    def environment(self) -> Mapping[str, str]:
        """Variables that it needs besides those of :func:`airlock.core.process.clean_environment`."""
        return {}

    def prepare(self) -> None:  # noqa: B027
        """Write its configuration and what else it wants before it runs. May be killed and is then done again.

        Programs for that are run by :meth:`call`.
        """

    def ready(self) -> bool:
        """Whether it does its work now. The default: every port takes connections."""
        return all(self.network.accepts(port) for port in self.ports)

    def bootstrap(self) -> None:  # noqa: B027
        """Set it up by its own interface, after it is ready; the same again changes nothing."""

    @property
    def log(self) -> Path:
        """What it says on standard output and standard error since its last start; before that: ``.old``."""
        return self.folder / f"{self.name}.log"

    def logs(self) -> Sequence[Path]:
        """Its logs, the most telling one last."""
        return [self.log]

    @property
    def process(self) -> Process | None:
        """Its first process while that runs."""
        started = read_started(self.folder)
        return started.process if started and started.process.alive else None

    @property
    def running(self) -> bool:
        """Whether its first process runs."""
        return self.process is not None

    def start(self: B, given_up: threading.Event | None = None) -> B:
        """Start it and wait until it is ready and set up; one that is running already is taken as it is.

        Args:
            given_up: set by another thread, has a start that waits end with an error.

        Raises:
            StateError: a port is taken; someone else is starting or stopping the same box; it was given up.
            SpaceError: the disk is full.
            ToolError: a program is missing; it does not come up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with space_error(self.folder, f"what {self.name} needs"), self._alone():
            try:
                if not self._is_the_same():
                    self._end()
                    require_space(self.folder, self.needed, self.name)
                    self._require_ports()
                    self.prepare()
                    self._spawn()
                self._await(given_up or threading.Event())
                self.bootstrap()
            except BaseException:
                self._end()
                raise
        return self

    def stop(self) -> None:
        """End it and everything that it started; one that is not running is left alone."""
        if self.folder.exists():
            with self._alone():
                self._end()

    def __enter__(self: B) -> B:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def failure(self, what: str) -> AirlockError:
        """An error that says ``what`` happened to it, with the last lines of its logs and where they are."""
        said, full = [], False
        for path in self.logs():
            # A log of the server's own may be from an earlier start, and tells nothing of this one.
            lines = last_lines_of(path) if path.exists() and path.stat().st_mtime >= self._spawned else []
            full = full or any("No space left on device" in line for line in lines)
            if lines:
                said.append(f"{path} ends with:\n" + "\n".join(f"  {line}" for line in lines))
        message = "\n".join([f"{self.name} {what}", *said])
        if full:
            return SpaceError(message)
        return ToolError(message, remedy="Its log says why. After that is mended, start it again: its data is kept.")

    def members(self) -> set[Process]:
        """Every process of the box: the server and whatever it started."""
        process = self.process
        return belonging(self.folder, process.pid if process else None)

    def call(self, arguments: Sequence[str | Path], *, timeout: float) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end as if the server had started it: its network, its environment, its mark.

        Should whoever started the box be killed meanwhile, the next start or stop ends the program, too.

        Raises:
            ToolError: it is missing.
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds.
        """
        return run(self.network.command(arguments), env=self._variables(), cwd=self.folder, timeout=timeout)

    def _variables(self) -> dict[str, str]:
        home, temporary = self.folder / "home", self.folder / "tmp"
        for place in (home, temporary):
            place.mkdir(exist_ok=True, mode=0o700)
        own = {"TMPDIR": str(temporary), **self.environment(), MARK: str(self.folder)}
        return clean_environment(home) | own

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        return exclusive(self.folder / LOCK, f"the server {self.name}")

    def _is_the_same(self) -> bool:
        started = read_started(self.folder)
        return (
            started is not None
            and started.process.alive
            and started.command == [str(word) for word in self.command()]
            and started.namespace == self._namespace()
        )

    def _namespace(self) -> int:
        return self.network.inside(lambda: Path("/proc/thread-self/ns/net").stat().st_ino)

    def _require_ports(self) -> None:
        for port in self.ports:
            if self.network.port_taken(port):
                holder = self.network.holder(port)
                where = f" in the network namespace {self.network.name}" if self.network.name else ""
                raise StateError(
                    f"{self.name} cannot listen on 127.0.0.1:{port}{where}: "
                    f"{holder or 'another program'} listens there already",
                    remedy="Stop that program, or give this server another port.",
                )

    def _spawn(self) -> None:
        if self.log.exists():
            self.log.replace(self.log.with_name(self.log.name + ".old"))
        command = [str(word) for word in self.command()]
        with self.log.open("wb") as log:
            self._spawned = self.log.stat().st_mtime
            running = subprocess.Popen(
                self.network.command(command), env=self._variables(), cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        # It outlives this object, and even this process; while both live, its end is noticed at once.
        threading.Thread(target=running.wait, name=f"box-{self.name}", daemon=True).start()
        process = look(running.pid)
        if process is None:
            raise self.failure("ended before it was ready")
        started = Started(
            self.name, process, command, list(self.ports), self.network.name, self._namespace(), str(self.log),
            self.stop_signal, self.grace,
        )  # fmt: skip
        write_file(self.folder / STARTED, msgspec.json.encode(started), durable=False)

    def _await(self, given_up: threading.Event) -> None:
        began = time.monotonic()
        while not self.ready():
            if not self.running:
                raise self.failure("ended before it was ready")
            if time.monotonic() - began > self.deadline:
                raise self.failure(f"is not ready {self.deadline:.0f} s after its start")
            if given_up.wait(0.1):
                raise StateError(f"the start of {self.name} was given up")

    def _end(self) -> None:
        started = read_started(self.folder)
        end(self.folder, started.process if started else None, self.stop_signal, self.grace)
        (self.folder / STARTED).unlink(missing_ok=True)


def read_started(folder: Path) -> Started | None:
    """What was started in the box's ``folder`` and not stopped since; it may have ended by itself."""
    try:
        return msgspec.json.decode((folder / STARTED).read_bytes(), type=Started)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def stop_started(folder: Path) -> None:
    """Stop the box in ``folder``, of whatever kind it is, with everything that it started.

    Raises:
        StateError: someone else is starting or stopping it.
    """
    with exclusive(folder / LOCK, f"the server in {folder}"):
        if started := read_started(folder):
            end(folder, started.process, Signals(started.stop_signal), started.grace)
            (folder / STARTED).unlink()


def last_lines_of(path: Path, count: int = LOG_LINES) -> list[str]:
    """The last non-empty lines of a log; none where there is no log."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _LOG_TAIL))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]
