"""What is known of a built image besides its digest: layers, packages, and whether it does what it must."""

from __future__ import annotations

import sys

import msgspec

from airlock.core.errors import BuildError, ToolError
from airlock.core.process import last_lines
from airlock.engine.podman import Podman
from airlock.evidence.record import Check, Package

CHECK_TIMEOUT = 300.0  # seconds
_OUTPUT = 4000  # characters that are kept


class Facts(msgspec.Struct, frozen=True):
    """``id`` is the configuration's digest, ``diff_ids`` the layers', uncompressed, base first."""

    id: str
    diff_ids: list[str]
    packages: list[Package]


class _RootFS(msgspec.Struct):
    Layers: list[str]


class _Inspected(msgspec.Struct):
    Id: str
    RootFS: _RootFS


async def image_facts(engine: Podman, image: str) -> Facts:
    """Inspect a built image; its root is mounted and read, nothing of it is executed.

    Raises:
        ToolError: the engine does not have it.
    """
    result = await engine.podman("image", "inspect", image, check=True)
    inspected = msgspec.json.decode(result.stdout, type=list[_Inspected])[0]
    mounted = await engine.podman("image", "mount", image, check=True)
    root = mounted.stdout.decode().strip()
    try:
        # The mount lies in the room's own mount namespace, so a process in the room reads it.
        read = await engine.tool(sys.executable, "-m", "airlock.build.packages", root)
    finally:
        await engine.podman("image", "unmount", image)
    if read.returncode != 0:
        raise ToolError(f"the packages of {image} cannot be read: {last_lines(read)}")
    packages = msgspec.json.decode(read.stdout, type=list[Package])
    return Facts(inspected.Id, inspected.RootFS.Layers, packages)


async def run_check(engine: Podman, image: str, name: str, command: list[str]) -> Check:
    """Run a command in a container of the built image, in the room.

    Raises:
        BuildError: it fails; its last words are in the message.
    """
    result = await engine.podman(
        "run", "--rm", "--network=host", f"--entrypoint={command[0]}", image, *command[1:], timeout=CHECK_TIMEOUT
    )
    output = (result.stdout + result.stderr).decode("utf-8", "replace").strip()[-_OUTPUT:]
    if result.returncode != 0:
        raise BuildError(
            f"image {name} was built, but `{' '.join(command)}` fails in it with code {result.returncode}:\n{output}",
            remedy="The image is not published. The check stands in [checks] of the release definition.",
        )
    return Check(command=command, exit_code=result.returncode, output=output)
