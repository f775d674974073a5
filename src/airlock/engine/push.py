"""Images into a registry or an OCI layout, by skopeo, each read back: what was built, and what a bundle brought."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from airlock.core.errors import IntegrityError, UpstreamError
from airlock.core.process import find_tool, last_lines, run
from airlock.engine.image_folder import file_of, lay_out
from airlock.engine.image_manifest import Reference, image_files
from airlock.engine.podman import EnginePaths
from airlock.engine.skopeo import Access, own_environment

_LOGIN = re.compile(r"unauthorized|authentication required|\b40[13]\b|denied")


async def publish(paths: EnginePaths, name: str, destination: str, access: Access) -> str:
    """Copy image ``name`` out of the engine's storage and read it back.

    Skopeo runs outside the room, with the host's network, in a mount namespace of its own.

    Args:
        destination: ``docker://host:port/name:tag`` or ``oci:DIRECTORY:tag``.

    Returns:
        The published manifest's digest, ``sha256:…``.

    Raises:
        UpstreamError: the registry refused or cannot be reached.
        IntegrityError: what was read back is not what was sent.
    """
    policy = paths.configuration / "policy.json"
    skopeo = ["unshare", "--mount", "--", find_tool("skopeo", "skopeo"), f"--policy={policy}"]
    digest_file = paths.temporary / f"{hashlib.sha256(destination.encode()).hexdigest()[:16]}.digest"
    arguments = ["copy", "--quiet", *access.options("dest"), f"--digestfile={digest_file}"]
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
        raise _refused(f"image {name}", destination, copied, "then build again")
    sent = digest_file.read_text("ascii").strip()
    digest_file.unlink()
    read = await asyncio.to_thread(
        run, [*skopeo, "inspect", "--raw", *access.options(), destination], env=paths.environment
    )
    _require_same(destination, sent, read)
    return sent


async def retag(source: str, destination: str, digest: str, access: Access, folder: Path) -> None:
    """Give a published image a further name beside its own, and read it back. No layer is sent again.

    Args:
        source, destination: as in ``publish``, both of one registry or layout.
        digest: the manifest's, which must stay.
        folder: for skopeo's temporary files.

    Raises:
        UpstreamError: the registry refused or cannot be reached.
        IntegrityError: what was read back has another digest.
    """
    options = ["--quiet", "--preserve-digests", *access.options("src"), *access.options("dest")]
    environment = await asyncio.to_thread(own_environment, folder)
    copied = await asyncio.to_thread(_skopeo, ["copy", *options, source, destination], environment)
    if copied.returncode != 0:
        raise _refused(source, destination, copied, "then build again")
    read = await asyncio.to_thread(_skopeo, ["inspect", "--raw", *access.options(), destination], environment)
    _require_same(destination, digest, read)


def push_image(
    reference: Reference,
    architecture: str,
    files: Mapping[str, Path],
    destination: str,
    access: Access,
    folder: Path,
) -> tuple[str, bool]:
    """Put an image's own files into a registry, so that it has there the digest it always had.

    Where the registry holds it under that name already, nothing is sent. Killed at any moment, the same call again
    finishes it: the manifest goes last, layers that arrived are not sent twice. Blocking.

    Args:
        architecture: OCI's name. Of a manifest list that one image is pushed, under its own digest.
        files: sha256 → file; compared with the digests by skopeo and by the registry.
        destination: ``docker://host:port/name:tag``.
        folder: for temporary files; removed.

    Returns:
        (the manifest's digest, ``sha256:…``; whether it had to be sent).

    Raises:
        UpstreamError: the registry refused or cannot be reached.
        IntegrityError: a file is missing or has other bytes, or what was read back is not what was sent.
        FormatError, ResolutionError: see ``image_manifest.image_files``.
    """

    def read(sha256: str, manifest: str) -> bytes:
        return file_of(files, reference, sha256).read_bytes()

    image = image_files(reference, architecture, read)
    digest = f"sha256:{image.manifest.sha256}"
    environment = own_environment(folder)
    try:
        there = _skopeo(["inspect", "--raw", *access.options(), destination], environment)
        if there.returncode == 0 and _digest(there) == digest:
            return digest, False
        lay_out(folder / "image", image, lambda sha256: file_of(files, reference, sha256))
        options = ["--quiet", "--preserve-digests", *access.options("dest")]
        copied = _skopeo(["copy", *options, f"dir:{folder / 'image'}", destination], environment)
        if copied.returncode != 0:
            raise _refused(f"base image {reference}", destination, copied, "then import the same bundle again")
        _require_same(destination, digest, _skopeo(["inspect", "--raw", *access.options(), destination], environment))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return digest, True


def _skopeo(arguments: Sequence[str], environment: dict[str, str]) -> CompletedProcess[bytes]:
    return run([find_tool("skopeo", "skopeo"), "--insecure-policy", *arguments], env=environment)


def _digest(read: CompletedProcess[bytes]) -> str:
    return f"sha256:{hashlib.sha256(read.stdout).hexdigest()}"


def _require_same(place: str, sent: str, read: CompletedProcess[bytes]) -> None:
    if read.returncode != 0 or _digest(read) != sent:
        raise IntegrityError(f"{place} was sent as {sent}, but reads back as {_digest(read)} {last_lines(read, 2)}")


def _refused(what: str, place: str, said: CompletedProcess[bytes], then: str) -> UpstreamError:
    words = last_lines(said, 3)
    remedy = f"See to the registry (is it up, has it room?), {then}."
    if _LOGIN.search(words):
        remedy = f"Give this site a login that may write there ([images] user, password_file in site.toml), {then}."
    return UpstreamError(f"{what} could not be sent to {place}: {words}", remedy=remedy)
