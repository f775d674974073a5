"""Images by digest: references, manifest lists, manifests and configurations (OCI image-spec 1.0, Docker's schema 2).

Everything hangs on the digest of the reference: a list names manifests by digest, a manifest its configuration and
layers, so whatever hangs there is as trustworthy as the reference itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from airlock.core.digest import sha256_bytes
from airlock.core.errors import DefinitionError, FormatError, IntegrityError, ResolutionError

MAX_DOCUMENT = 8 << 20  # bytes of a list, a manifest or a configuration
MAX_LAYERS = 512
_REFERENCE = re.compile(
    r"(?P<registry>[A-Za-z0-9.-]+(?::\d+)?)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?@sha256:(?P<digest>[0-9a-f]{64})"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": ".tar.gz",
    "application/vnd.docker.image.rootfs.diff.tar": ".tar",
    "application/vnd.oci.image.layer.v1.tar+gzip": ".tar.gz",
    "application/vnd.oci.image.layer.v1.tar": ".tar",
}


class Reference(msgspec.Struct, frozen=True):
    """``registry/repository:tag@sha256:digest``; the tag is for people, and may be empty."""

    registry: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}{':' * bool(self.tag)}{self.tag}@sha256:{self.digest}"


class Blob(msgspec.Struct, frozen=True):
    """One file of an image; ``extension`` is the real one, with its dot."""

    sha256: str
    size: int
    extension: str


class ImageFiles(msgspec.Struct, frozen=True):
    """What an image for one architecture consists of.

    Attributes:
        index: the manifest list, where the reference names one.
        layers: the lowest first.
        diff_ids: sha256 of each layer without its compression.
        created: of the configuration, RFC 3339 or empty.
    """

    index: Blob | None
    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]
    diff_ids: tuple[str, ...]
    created: str

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All of them, each once."""
        every = [*([self.index] if self.index else []), self.manifest, self.config, *self.layers]
        return tuple({blob.sha256: blob for blob in every}.values())


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Descriptor(msgspec.Struct, rename={"media_type": "mediaType"}):
    digest: str
    size: int
    media_type: str = ""
    platform: _Platform | None = None

    @property
    def sha256(self) -> str:
        return self.digest.removeprefix("sha256:")


class _Document(msgspec.Struct, rename={"schema": "schemaVersion"}):
    schema: int = 0
    manifests: list[_Descriptor] | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None


class _RootFs(msgspec.Struct):
    diff_ids: list[str]


class _History(msgspec.Struct):
    empty_layer: bool = False


class _Config(msgspec.Struct):
    rootfs: _RootFs
    history: list[_History] | None = None
    architecture: str = ""
    os: str = ""
    created: str | None = ""


Read = Callable[[str, str], bytes]
"""(sha256, sha256 of the manifest that names it as configuration, or empty for a list or manifest) → bytes."""


def is_reference(text: str) -> bool:
    """Whether the FROM of a root names an image by digest."""
    return "@sha256:" in text


def parse_reference(text: str) -> Reference:
    """Read a reference with registry and digest.

    Raises:
        DefinitionError: it is none. A registry is never guessed.
    """
    found = _REFERENCE.fullmatch(text)
    registry = found["registry"] if found else ""
    if found is None or not (set(registry) & set(".:") or registry == "localhost"):
        raise DefinitionError(
            f"base.image {text!r} does not name an image of a registry by digest",
            remedy='Write it as "registry.example.org/debian:bookworm@sha256:…", the registry with its full name.',
        )
    return Reference(registry, found["repository"], found["tag"] or "", found["digest"])


def image_files(reference: Reference, architecture: str, read: Read) -> ImageFiles:
    """Follow a reference down to the layers' digests.

    Args:
        architecture: OCI's name: ``amd64``, ``arm64``.
        read: gives the bytes; they are checked here.

    Raises:
        IntegrityError: other bytes than a digest names.
        FormatError: no manifest list, manifest or configuration of an image, or layers of an unknown kind.
        ResolutionError: the image is not for that architecture.
    """
    index: Blob | None = None
    sha256 = reference.digest
    data = _checked(reference, read(sha256, ""), sha256)
    document = _document(reference, data)
    if document.manifests is not None:
        index = Blob(sha256, len(data), ".json")
        chosen = _choose(reference, document.manifests, architecture)
        sha256 = chosen.sha256
        data = _checked(reference, read(sha256, ""), sha256, chosen.size)
        document = _document(reference, data)
    if document.manifests is not None or document.config is None or document.layers is None:
        raise FormatError(f"{reference}: {sha256} is no manifest of an image")
    text = _checked(reference, read(document.config.sha256, sha256), document.config.sha256, document.config.size)
    try:
        config = msgspec.json.decode(text, type=_Config)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{reference}: its configuration does not parse: {error}") from None
    if (config.os, config.architecture) != ("linux", architecture):
        raise ResolutionError(
            f"{reference} is for {config.os} {config.architecture}, not for linux {architecture}",
            remedy="Take the digest of the manifest list, which names an image for every architecture.",
        )
    layers = tuple(_layer(reference, layer) for layer in document.layers)
    if not 0 < len(layers) == len(config.rootfs.diff_ids) <= MAX_LAYERS:
        raise FormatError(f"{reference}: {len(layers)} layers, {len(config.rootfs.diff_ids)} diff_ids")
    told = sum(not entry.empty_layer for entry in config.history or [])
    if told != len(layers):
        raise FormatError(
            f"{reference}: the history in its configuration tells of {told} layers, it has {len(layers)}",
            remedy="podman builds nothing on such an image. Make it anew with a program that writes its history.",
        )
    return ImageFiles(
        index=index,
        manifest=Blob(sha256, len(data), ".json"),
        config=Blob(document.config.sha256, len(text), ".json"),
        layers=layers,
        diff_ids=tuple(_hex(reference, digest) for digest in config.rootfs.diff_ids),
        created=config.created or "",
    )


def _checked(reference: Reference, data: bytes, sha256: str, size: int | None = None) -> bytes:
    if sha256_bytes(data) != sha256 or size not in (None, len(data)):
        raise IntegrityError(
            f"{reference}: asked for sha256:{sha256}, and got sha256:{sha256_bytes(data)}, {len(data)} bytes",
            remedy="Do not trust this registry: name another one in factory.toml, or correct the digest in base.image.",
        )
    return data


def _document(reference: Reference, data: bytes) -> _Document:
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{reference}: a manifest does not parse: {error}") from None
    # One that is both can be read as either by the next program (CVE-2021-41190).
    if document.schema != 2 or (document.manifests is not None) == (document.layers is not None):
        raise FormatError(
            f"{reference} is neither a manifest list nor a manifest of an image",
            remedy="Docker's old schema 1 is not taken: copy the image to a registry anew.",
        )
    for descriptor in [*(document.manifests or []), *(document.layers or []), *filter(None, [document.config])]:
        _hex(reference, descriptor.digest)
        if descriptor.size < 0:
            raise FormatError(f"{reference}: {descriptor.digest} has a size of {descriptor.size}")
    return document


def _hex(reference: Reference, digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise FormatError(f"{reference}: {digest!r} is no sha256 digest")
    return digest.removeprefix("sha256:")


def _choose(reference: Reference, manifests: Sequence[_Descriptor], architecture: str) -> _Descriptor:
    platforms = [(manifest, manifest.platform or _Platform()) for manifest in manifests]
    fit = [
        (bool(platform.variant) and platform.variant != "v8", place, manifest)
        for place, (manifest, platform) in enumerate(platforms)
        if (platform.os, platform.architecture) == ("linux", architecture)
    ]
    if not fit:
        there = sorted({f"{platform.os} {platform.architecture}" for _, platform in platforms if platform.os})
        raise ResolutionError(
            f"{reference} holds no image for linux {architecture}, but for {', '.join(there) or 'nothing named'}",
            remedy="Choose an image that has this architecture, or leave it out of base.architectures.",
        )
    return min(fit, key=lambda one: one[:2])[2]


def _layer(reference: Reference, layer: _Descriptor) -> Blob:
    extension = _LAYERS.get(layer.media_type)
    if extension is None:
        raise FormatError(
            f"{reference}: layer {layer.digest} is of the kind {layer.media_type!r}, which cannot be taken",
            remedy="Layers must lie in the registry as tar or tar.gz; `skopeo copy --dest-compress-format=gzip` makes "
            "such an image of one with zstd.",
        )
    return Blob(layer.sha256, layer.size, extension)
