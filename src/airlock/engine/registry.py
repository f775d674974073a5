"""Images in and out of an engine's storage by skopeo: a root file system becomes an image, an image is published."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airlock.core.canonical import canonical
from airlock.core.digest import CHUNK
from airlock.core.errors import IntegrityError, ToolError, UpstreamError
from airlock.core.files import FileWriter, write_file
from airlock.core.process import find_tool, last_lines, run
from airlock.engine.image_manifest import Reference, image_files
from airlock.engine.podman import EnginePaths, Podman

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
            _write_layout, layout, tar, architecture, timestamp, environment or {}, list(command)
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
        return _file(files, reference, sha256).read_bytes()

    image = await asyncio.to_thread(image_files, reference, architecture, read)
    folder = engine.paths.temporary / f"image-{image.config.sha256[:16]}"
    try:
        folder.mkdir()
        # skopeo's own format (containers-transports(5), dir:), since an OCI layout cannot hold Docker's manifests.
        write_file(folder / "version", b"Directory Transport Version: 1.1\n", durable=False)
        (folder / "manifest.json").symlink_to(files[image.manifest.sha256].absolute())
        for blob in (image.config, *image.layers):
            with contextlib.suppress(FileExistsError):  # two layers may be the same
                (folder / blob.sha256).symlink_to(_file(files, reference, blob.sha256).absolute())
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


def _file(files: Mapping[str, Path], reference: Reference, sha256: str) -> Path:
    if sha256 not in files or not files[sha256].is_file():
        raise IntegrityError(
            f"{reference}: sha256:{sha256} is not among the bundle's files", remedy="Import the bundle again."
        )
    return files[sha256]


def _write_layout(
    layout: Path, tar: Path, architecture: str, timestamp: int, environment: Mapping[str, str], command: list[str]
) -> str:
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


async def publish(
    paths: EnginePaths, name: str, destination: str, *, verify_tls: bool = True, authfile: Path | None = None
) -> str:
    """Copy image ``name`` out of the engine's storage and read it back.

    Skopeo runs outside the room, with the host's network, in a mount namespace of its own.

    Args:
        destination: ``docker://host:port/name:tag`` or ``oci:DIRECTORY:tag``.
        verify_tls: whether the registry must have a valid certificate.
        authfile: containers-auth.json(5) with the registry's credentials.

    Returns:
        The published manifest's digest, ``sha256:…``.

    Raises:
        UpstreamError: the registry refused or cannot be reached.
        IntegrityError: what was read back is not what was sent.
    """
    policy = paths.configuration / "policy.json"
    skopeo = ["unshare", "--mount", "--", find_tool("skopeo", "skopeo"), f"--policy={policy}"]
    tls = "true" if verify_tls else "false"
    secret = ["--authfile", str(authfile)] if authfile else []
    digest_file = paths.temporary / f"{hashlib.sha256(destination.encode()).hexdigest()[:16]}.digest"
    arguments = ["copy", "--quiet", *secret, f"--dest-tls-verify={tls}", f"--digestfile={digest_file}"]
    if destination.startswith("oci:"):
        # Compressed, a layer that the layout has already would be compressed again to see that it is the same.
        arguments += ["--dest-oci-accept-uncompressed-layers"]
    else:
        # Level 1 takes half the time of the default and a tenth more room; the layers inside are the same.
        arguments += ["--dest-compress-level=1"]
    copied = await asyncio.to_thread(
        run, [*skopeo, *arguments, paths.storage(name), destination], env=paths.environment
    )
    if copied.returncode != 0:
        raise UpstreamError(
            f"image {name} could not be published to {destination}: {last_lines(copied, 3)}",
            remedy="See to the registry (is it up, may this site write to it?), then build again.",
        )
    sent = digest_file.read_text("ascii").strip()
    digest_file.unlink()
    read = await asyncio.to_thread(
        run, [*skopeo, "inspect", "--raw", *secret, f"--tls-verify={tls}", destination], env=paths.environment
    )
    found = f"sha256:{hashlib.sha256(read.stdout).hexdigest()}"
    if read.returncode != 0 or found != sent:
        raise IntegrityError(f"{destination} was sent as {sent}, but reads back as {found} {last_lines(read, 2)}")
    return sent
