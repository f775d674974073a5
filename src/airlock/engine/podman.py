"""Podman's service with storage and configuration of its own; nothing of the host's is read.

The caller says how a command is started (for instance inside a sealed room); this module knows podman alone.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import msgspec

from airlock.core.errors import ToolError
from airlock.core.files import write_file
from airlock.core.process import clean_environment, find_tool, last_lines

CONFIGURATION = Path("/etc/containers")  # where podman looks; the caller mounts ours over it
_READY_AFTER = 60.0  # seconds
_CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip


class EnginePaths(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine keeps what it has.

    ``root``, ``temporary``, ``configuration``: on disk, absolute, kept. ``run``: short (a unix socket's path has 108
    bytes), emptied after each run, the same each time (podman's database remembers it).
    """

    root: Path
    temporary: Path
    configuration: Path
    run: Path
    log: Path

    @property
    def runroot(self) -> Path:
        """containers/storage's run root."""
        return self.run / "storage"

    @property
    def socket(self) -> Path:
        """The service's API socket."""
        return self.run / "podman.sock"

    def storage(self, name: str) -> str:
        """Name of image ``name`` in this storage, for skopeo."""
        return f"containers-storage:[overlay@{self.root}+{self.runroot}]{name}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of every program that works on this storage."""
        return clean_environment(
            self.configuration,
            CONTAINERS_CONF=str(self.configuration / "containers.conf"),
            CONTAINERS_STORAGE_CONF=str(self.configuration / "storage.conf"),
            CONTAINERS_REGISTRIES_CONF=str(self.configuration / "registries.conf"),
            REGISTRY_AUTH_FILE=str(self.configuration / "auth.json"),
            XDG_CONFIG_HOME=str(self.configuration),
        ) | {"TMPDIR": str(self.temporary)}


def configure(paths: EnginePaths, *, runtimes: Mapping[str, Path], runtime: str) -> None:
    """Write containers.conf(5), storage.conf, registries.conf and policy.json.

    Args:
        runtimes: OCI runtimes by name.
        runtime: the one to use.
    """
    for directory in (paths.root, paths.temporary, paths.run, paths.configuration / "cni"):
        directory.mkdir(parents=True, exist_ok=True)
    table = "\n".join(f"{name} = [{_quoted(path)}]" for name, path in runtimes.items())
    texts = {
        "containers.conf": f"""[containers]
netns = "host"
dns_servers = ["127.0.0.1"]
dns_searches = ["."]
base_hosts_file = "none"
http_proxy = false
log_driver = "k8s-file"
default_capabilities = {json.dumps(_CAPABILITIES)}
default_sysctls = []
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]

[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
image_copy_tmp_dir = {_quoted(paths.temporary)}
tmp_dir = {_quoted(paths.run / "libpod")}
runtime = {_quoted(runtime)}

[engine.runtimes]
{table}

[network]
network_backend = "cni"
network_config_dir = {_quoted(paths.configuration / "cni")}
""",
        "storage.conf": f"""[storage]
driver = "overlay"
graphroot = {_quoted(paths.root)}
runroot = {_quoted(paths.runroot)}

[storage.options]
additionalimagestores = []
""",
        "registries.conf": 'unqualified-search-registries = []\nshort-name-mode = "disabled"\n',
        "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
        "mounts.conf": "",
        "auth.json": '{"auths": {}}\n',
    }
    for name, text in texts.items():
        write_file(paths.configuration / name, text.encode(), durable=False)


def _quoted(value: str | Path) -> str:
    return json.dumps(str(value))


class Podman:
    """Podman on one storage. ``enter`` turns a command into one that runs where the engine lives."""

    def __init__(self, paths: EnginePaths, enter: Callable[[Sequence[str | Path]], list[str]]) -> None:
        self.paths = paths
        self._enter = enter
        self._service: Process | None = None

    @property
    def url(self) -> str:
        """Address of the API, for podman-py (``base_url``) and ``podman --url``."""
        return f"unix://{self.paths.socket}"

    async def start(self) -> None:
        """Remove what an earlier run left, start the service and wait until it answers.

        Raises:
            ToolError: podman is missing, or the service does not come up (with the last lines of its log).
        """
        program = find_tool("podman", "podman")
        for leftover in await asyncio.to_thread(lambda: list(self.paths.temporary.iterdir())):
            await asyncio.to_thread(_remove, leftover)
        await self.remove_containers()
        with self.paths.log.open("wb") as log:
            self._service = await asyncio.create_subprocess_exec(
                *self._enter([program, "system", "service", "--time=0", self.url]),
                env=self.paths.environment, cwd="/", stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = asyncio.get_running_loop().time() + _READY_AFTER
        while not await self._answers():
            if self._service.returncode is not None or asyncio.get_running_loop().time() > deadline:
                said = self.paths.log.read_text(errors="replace").splitlines()[-12:]
                raise ToolError("podman's service did not start:\n" + "\n".join(said))
            await asyncio.sleep(0.05)

    async def remove_containers(self) -> None:
        """Remove every container of this storage, also those of builds that were killed."""
        listed = await self.podman("ps", "--all", "--external", "--quiet", "--no-trunc", check=True)
        if identifiers := listed.stdout.decode().split():
            await self.podman("rm", "--force", "--time=0", *identifiers)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_unix_connection(self.paths.socket)
        except OSError:
            return False
        try:
            writer.write(b"GET /_ping HTTP/1.0\r\nHost: d\r\n\r\n")
            return b" 200 " in await asyncio.wait_for(reader.readline(), 10)
        except (TimeoutError, ConnectionError):
            return False
        finally:
            writer.close()

    async def podman(
        self,
        *arguments: str | Path,
        data: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the command must be killed with it
        check: bool = False,
    ) -> CompletedProcess[bytes]:
        """Run the podman command on the same storage, in the same place; output as bytes.

        Raises:
            ToolError: ``check`` is set and it failed.
            TimeoutError: it took longer than ``timeout`` seconds; the command is killed.
        """
        result = await self.tool(find_tool("podman", "podman"), *arguments, data=data, timeout=timeout)
        if check and result.returncode != 0:
            raise ToolError(f"podman {' '.join(map(str, arguments[:3]))} … failed: {last_lines(result)}")
        return result

    async def tool(
        self,
        *arguments: str | Path,
        data: bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the command must be killed with it
    ) -> CompletedProcess[bytes]:
        """Run any program where the engine lives, with the engine's environment; output as bytes.

        Raises:
            TimeoutError: it took longer than ``timeout`` seconds; the program is killed.
        """
        command = self._enter(arguments)
        process = await asyncio.create_subprocess_exec(
            *command, env=self.paths.environment, cwd="/",
            stdin=DEVNULL if data is None else PIPE, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        try:
            out, err = await asyncio.wait_for(process.communicate(data), timeout)
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        return CompletedProcess(command, process.returncode or 0, out, err)

    async def stop(self) -> None:
        """End the service. Builds go on after their client died: whoever made the place kills what is left in it."""
        if self._service is None:
            return
        if self._service.returncode is None:
            self._service.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._service.wait(), 5)
            except TimeoutError:
                self._service.kill()
                await self._service.wait()
        self._service = None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
