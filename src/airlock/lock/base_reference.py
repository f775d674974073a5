"""A base image taken by digest from a registry: its files as artifacts, and the state its apt commands begin with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airlock.core.errors import AirlockError, FormatError, IntegrityError
from airlock.core.progress import Reporter
from airlock.core.settings import FetchTable
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.engine.image_manifest import Blob, ImageFiles, Reference, is_reference, parse_reference
from airlock.engine.image_source import fetch_image, pool_files
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_resolver import AptResult
from airlock.lock.base_state import base_state, wanted
from airlock.lock.image_layers import Layer, read_layers
from airlock.lock.model import Artifact, Demand, Lock
from airlock.store.pool import Pool

__all__ = ["base_references", "fetch_bases", "is_reference", "refresh_images", "registries", "resolve_base"]


def base_references(demands: Iterable[Demand]) -> list[tuple[str, Reference]]:
    """(architecture, reference) of every root image that a registry has, each once.

    Raises:
        DefinitionError: a reference without registry.
    """
    asked = [demand for demand in demands if demand.kind == "base-image" and is_reference(demand.spec)]
    return list(dict.fromkeys((demand.arch, parse_reference(demand.spec)) for demand in asked))


def registries(demands: Iterable[Demand]) -> dict[str, str]:
    """Upstreams that references name: registry → its address, unless the settings know another."""
    return {reference.registry: f"https://{reference.registry}" for _, reference in base_references(demands)}


def fetch_bases(
    demands: Iterable[Demand], pool: Pool, addresses: Mapping[str, str], settings: FetchTable
) -> list[ImageFiles]:
    """Bring into the pool what it lacks of the images that references name.

    Args:
        addresses: of registries by name.

    Raises:
        AirlockError: see ``engine.image_source.fetch_image``.
    """
    return [
        fetch_image(pool, reference, DEBIAN_ARCHITECTURES[arch], addresses[reference.registry], settings)
        for arch, reference in base_references(demands)
    ]


def refresh_images(
    lock: Lock,
    missing: Sequence[Artifact],
    pool: Pool,
    addresses: Mapping[str, str],
    settings: FetchTable,
    reporter: Reporter,
) -> list[AirlockError]:
    """Fetch what is missing of images; what went wrong is returned, for ``refresh`` to tell with the rest."""
    lost = {artifact.id for artifact in missing}
    errors: list[AirlockError] = []
    for demand in lock.demands:
        if demand.kind == "base-image" and lost & set(demand.artifacts):
            reporter.say(f"fetching {demand.spec}")
            try:
                fetch_bases([demand], pool, addresses, settings)
            except AirlockError as error:
                errors.append(error)
    return errors


def resolve_base(demand: Demand, pool: Pool, sources: Iterable[AptSource]) -> AptResult:
    """Answer the FROM of a root by the image's files, which the pool holds; nothing is fetched.

    The image's own source lists do not count: in the room Kolla's list takes their place before the first command.

    Args:
        sources: what Kolla's source list names.

    Raises:
        IntegrityError: the pool lacks a file, or has other bytes.
        FormatError: the image cannot be read.
        ResolutionError: it is for another architecture or release, or nothing that apt could work on.
    """
    reference = parse_reference(demand.spec)
    architecture = DEBIAN_ARCHITECTURES[demand.arch]
    image = pool_files(pool, reference, architecture)
    artifacts = [_artifact(reference, blob) for blob in image.blobs]
    for artifact in artifacts:
        if problem := pool.check(artifact.sha256, artifact.size):
            raise IntegrityError(f"{artifact.id} of {reference}: {problem}", remedy="Run `airlock refresh`.")
    layers = [
        Layer(pool.path(blob.sha256), blob.extension, diff_id)
        for blob, diff_id in zip(image.layers, image.diff_ids, strict=True)
    ]
    try:
        state = base_state(read_layers(layers, wanted), architecture, list(sources), str(reference))
    except FormatError as error:
        raise FormatError(f"{reference}: {error.message}") from None
    ids = tuple(sorted(artifact.id for artifact in artifacts))
    answered = Demand(demand.arch, demand.image, demand.line, demand.kind, demand.spec, ids, demand.note)
    return AptResult([answered], artifacts, {}, state)


def _artifact(reference: Reference, blob: Blob) -> Artifact:
    """One of the image's files; the same for every architecture that has it."""
    return Artifact(
        id=f"image/{blob.sha256[:12]}{blob.extension}",
        kind="image",
        name=reference.repository,
        version=reference.tag,
        arch="any",
        file=f"{blob.sha256}{blob.extension}",
        sha256=blob.sha256,
        size=blob.size,
        upstream=reference.registry,
        path=f"{reference.repository}@sha256:{reference.digest}",
        trust="declared",
    )
