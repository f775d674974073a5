"""Images into an engine's storage by skopeo: of a root file system, or of the files of a registry's image."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airlock.core.canonical import canonical
from airlock.core.digest import CHUNK
from airlock.core.errors import IntegrityError, ToolError
from airlock.core.files import FileWriter, write_file
from airlock.core.process import find_tool, last_lines
from airlock.engine.image_folder import file_of, lay_out
from airlock.engine.image_manifest import Reference, image_files
from airlock.engine.podman import Podman

_LAYOUT = "application/vnd.oci.image"


async def import_tar(
    engine: Podman,
    tar: Path,
    name: str,
    *,
    architecture: str,
    timestamp: int,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = (),
) -> str:
    """Make an image of one layer from a root file system. The same tar and arguments give the same image.

    Written as an OCI layout (image-spec 1.0) and copied in by skopeo: ``podman import`` dates by the clock.

    Args:
        tar: uncompressed.
        name: with tag.
        architecture: OCI's name: ``amd64``, ``arm64``.
        timestamp: of the image and its history, in seconds since the epoch.

    Returns:
        The image's id in the engine: the sha256 of its configuration, in hexadecimal.

    Raises:
        ToolError: skopeo refused.
    """
    layout = engine.paths.temporary / f"import-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    try:
        config = await asyncio.to_thread(
            write_layout, layout, tar, architecture, timestamp, environment or {}, list(command)
        )
        result = await engine.tool(
            find_tool("skopeo", "skopeo"), "copy", "--quiet", f"oci:{layout}:image", engine.paths.storage(name)
        )
    finally:
        await asyncio.to_thread(shutil.rmtree, layout, ignore_errors=True)
    if result.returncode != 0:
        raise ToolError(f"{tar} could not be made the image {name}: {last_lines(result)}")
    return config


async def import_files(
    engine: Podman, files: Mapping[str, Path], reference: Reference, name: str, architecture: str
) -> str:
    """Put a registry's image into the engine from its files. Its id is the digest of its configuration, as always.

    skopeo compares every layer with the manifest while it copies, and what it unpacks with the configuration.

    Args:
        files: sha256 → file; they are linked to, never changed.
        reference: whose digest everything hangs on.
        name: with tag, in the engine.
        architecture: OCI's name.

    Returns:
        The image's id, in hexadecimal.

    Raises:
        IntegrityError: a file is missing, has other bytes, or the engine has another image than the configuration's.
        FormatError, ResolutionError: see ``image_manifest.image_files``.
    """

    def read(sha256: str, manifest: str) -> bytes:
        return file_of(files, reference, sha256).read_bytes()

    image = await asyncio.to_thread(image_files, reference, architecture, read)
    folder = engine.paths.temporary / f"image-{image.config.sha256[:16]}"
    try:
        lay_out(folder, image, lambda sha256: file_of(files, reference, sha256))
        result = await engine.tool(
            find_tool("skopeo", "skopeo"), "copy", "--quiet", f"dir:{folder}", engine.paths.storage(name)
        )
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    if result.returncode != 0:
        raise IntegrityError(
            f"{reference} could not be put together as {name}: {last_lines(result)}",
            remedy="Import the bundle again; its files may have changed in the store.",
        )
    shown = await engine.podman("image", "inspect", "--format={{.Id}}", name, check=True)
    found = shown.stdout.decode().strip()
    if found != image.config.sha256:
        raise IntegrityError(f"{name} has the id {found} in the engine; {reference} is {image.config.sha256}")
    return found


def write_layout(
    layout: Path, tar: Path, architecture: str, timestamp: int, environment: Mapping[str, str], command: list[str]
) -> str:
    """An OCI layout (image-spec 1.0) of one image of one layer, tagged ``image``; for the arguments see ``import_tar``.

    Returns:
        The sha256 of its configuration, in hexadecimal.
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    with tar.open("rb") as source, FileWriter(blobs / "layer", durable=False) as writer:
        while data := source.read(CHUNK):
            writer.write(data)
    (blobs / "layer").rename(blobs / writer.sha256)
    created = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def blob(value: Any) -> dict[str, Any]:
        data = canonical(value)
        digest = hashlib.sha256(data).hexdigest()
        write_file(blobs / digest, data, durable=False)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    config = blob(
        {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {
                "Env": [f"{key}={value}" for key, value in sorted(environment.items())],
                "Cmd": command,
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{writer.sha256}"]},
            "history": [{"created": created, "created_by": "airlock"}],
        }
    )
    layer = {
        "mediaType": f"{_LAYOUT}.layer.v1.tar",
        "digest": f"sha256:{writer.sha256}",
        "size": writer.size,
    }
    manifest = blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{_LAYOUT}.manifest.v1+json",
            "config": {"mediaType": f"{_LAYOUT}.config.v1+json", **config},
            "layers": [layer],
        }
    )
    entry = {
        "mediaType": f"{_LAYOUT}.manifest.v1+json",
        "annotations": {"org.opencontainers.image.ref.name": "image"},
        **manifest,
    }
    write_file(layout / "index.json", canonical({"schemaVersion": 2, "manifests": [entry]}), durable=False)
    write_file(layout / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}', durable=False)
    return str(config["digest"]).removeprefix("sha256:")
