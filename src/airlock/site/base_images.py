"""The base images that a bundle brings, put into the site's registry by digest."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.bundle.verify import VerifiedBundle
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.engine.destination import base_destination
from airlock.engine.image_manifest import Reference, is_reference, parse_reference
from airlock.engine.push import push_image
from airlock.engine.skopeo import site_access


class BaseImage(msgspec.Struct, frozen=True, kw_only=True):
    """One base image in the registry.

    Attributes:
        source: the reference that the definition names.
        arch: Kolla's name.
        digest: of the image's manifest, ``sha256:…``, the same in the registry as where it came from.
        reference: where it lies now, tag included.
        sent: it was not there before.
    """

    source: str
    arch: str
    digest: str
    reference: str
    sent: bool


def push_base_images(verified: VerifiedBundle, site: Site, reporter: Reporter) -> list[BaseImage]:
    """Put every base image of a bundle that is one of a registry into the site's; those made of packages are none.

    A site whose images lie in an OCI layout takes none: a layout cannot hold Docker's manifests under their digests.

    Raises:
        UpstreamError, IntegrityError: see ``engine.push.push_image``. The same import again finishes it.
    """
    wanted = sorted({(demand.arch, demand.spec) for demand in verified.lock.demands if demand.kind == "base-image"})
    references = [(arch, parse_reference(spec)) for arch, spec in wanted if is_reference(spec)]
    if not references or not site.settings.images.registry:
        return []
    content = {entry.sha256: verified.folder / entry.path for entry in verified.content}
    files = {one.sha256: content[one.sha256] for one in verified.lock.artifacts if one.kind == "image"}
    found = []
    with (
        site_access(site) as access,
        TemporaryDirectory(prefix="airlock-base-") as folder,
        reporter.task("base images into the registry", len(references), unit="items") as task,
    ):
        for arch, reference in references:
            debian = DEBIAN_ARCHITECTURES[arch]
            place = base_destination(site, reference, _tag(verified.manifest.id, debian, references))
            digest, sent = push_image(
                reference, debian, files, place.transport, access, Path(folder) / f"{reference.digest[:12]}-{debian}"
            )
            found.append(
                BaseImage(source=str(reference), arch=arch, digest=digest, reference=place.reference, sent=sent)
            )
            task.advance(1)
    return found


def _tag(bundle: str, debian_arch: str, references: list[tuple[str, Reference]]) -> str:
    """The bundle's id; where it brings images for several architectures, with the architecture's."""
    return bundle if len(references) == 1 else f"{bundle}-{debian_arch}"
