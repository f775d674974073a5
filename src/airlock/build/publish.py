"""From the engine in the room to the Images registry, parents first, each read back before it counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from airlock.core.digest import sha256_bytes
from airlock.core.errors import IntegrityError, UpstreamError
from airlock.core.process import find_tool, last_lines, run
from airlock.core.settings import Site
from airlock.engine.podman import EnginePaths


class Published(msgspec.Struct, frozen=True):
    """Where an image lies now, and the digest of its manifest there (``sha256:…``), read back."""

    reference: str
    digest: str


def destination(site: Site, image: str, tag: str) -> tuple[str, str, bool]:
    """Skopeo's name of the place for an image, the name for people, and whether TLS is verified."""
    images = site.settings.images
    if images.oci:
        folder = (site.root / images.oci).resolve()
        return f"oci:{folder}:{images.namespace}/{image}:{tag}", f"oci:{folder}:{images.namespace}/{image}:{tag}", True
    scheme, _, host = images.registry.rpartition("://")
    name = f"{host.rstrip('/')}/{images.namespace}/{image}:{tag}"
    return f"docker://{name}", name, scheme != "http"


async def publish(paths: EnginePaths, source: str, site: Site, image: str, tag: str) -> Published:
    """Copy one image of the engine's storage to the site's registry or OCI layout.

    Args:
        paths: the engine's storage.
        source: the image's name or id in it.
        site: names the registry.
        image: the published name.
        tag: the published tag.

    Raises:
        UpstreamError: the registry refused; its words are in the message.
        IntegrityError: what was read back is not what was sent.
    """
    target, reference, verified = destination(site, image, tag)
    if target.startswith("oci:"):
        Path(target.split(":")[1]).mkdir(parents=True, exist_ok=True)
    skopeo = find_tool("skopeo", "skopeo")
    digest_file = paths.temporary / f"{image}.digest"
    tls = f"tls-verify={'true' if verified else 'false'}"
    copied = await asyncio.to_thread(
        run,
        [skopeo, "copy", "--quiet", f"--dest-{tls}", f"--digestfile={digest_file}", paths.storage(source), target],
        env=paths.environment,
    )
    if copied.returncode != 0:
        raise UpstreamError(
            f"image {image} could not be published to {reference}: {last_lines(copied, 3)}",
            remedy="Is the registry up, with room, and does it accept pushes? The same build again goes on from here.",
        )
    sent = digest_file.read_text().strip()
    arguments = [skopeo, "inspect", f"--{tls}", "--raw", target]
    read = await asyncio.to_thread(run, arguments, env=paths.environment)
    found = f"sha256:{sha256_bytes(read.stdout)}" if read.returncode == 0 else last_lines(read, 2)
    if found != sent:
        raise IntegrityError(f"{reference} was sent as {sent}, but reads back as {found}")
    return Published(reference, sent)
