"""Two build records side by side: are the images the same, bit for bit, and if not, where do they part?

A record holds each image's digest, the digests of its layers (``diff_ids``, base first), its packages and its
inputs, so the first difference can be named without the images themselves. An image begins with its parent's
layers; where those differ already the difference is the parent's, and is said to be inherited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from airlock.evidence.record import BuiltImage, Package, Record

Where = Literal["left", "right", "both"]


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not the same; an empty side means that it is not there at all."""

    what: str
    left: str
    right: str


class ImageComparison(msgspec.Struct, frozen=True):
    """One image of both records.

    Attributes:
        where: in which of the records it is; ``same`` is False unless it is in both.
        same: the digests in the registry are equal: bit for bit the same image.
        layer: index of the first layer that differs, base first; None where all layers are the same.
        layers: number of layers left and right.
        inherited_from: the ancestor whose layers differ first; empty when the difference begins in this image.
        first: the first difference, in words.
        differences: packages and inputs of this image that differ.
    """

    name: str
    where: Where
    same: bool
    left: str
    right: str
    layer: int | None = None
    layers: tuple[int, int] = (0, 0)
    inherited_from: str = ""
    first: str = ""
    differences: tuple[Difference, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """Two records.

    Attributes:
        left, right: build ids.
        same: both hold the same images, at least one, all bit for bit the same.
        images: by name.
        inputs: inputs of the whole builds that differ, also where the images are the same in spite of them.
    """

    left: str
    right: str
    same: bool
    images: tuple[ImageComparison, ...]
    inputs: tuple[Difference, ...]


def compare_records(left: Record, right: Record) -> Comparison:
    """Compare two builds. Never raises: what differs is the answer."""
    left_images = {image.name: image for image in left.images}
    right_images = {image.name: image for image in right.images}
    images: list[ImageComparison] = []
    for name in sorted(left_images.keys() | right_images.keys()):
        one, other = left_images.get(name), right_images.get(name)
        if one and other:
            images.append(_compare_images(one, other, left_images, right_images))
        else:
            images.append(_lonely(name, one, other))
    return Comparison(
        left=left.build_id,
        right=right.build_id,
        same=bool(images) and all(image.same for image in images),
        images=tuple(images),
        inputs=tuple(_inputs(left, right)),
    )


def _lonely(name: str, left: BuiltImage | None, right: BuiltImage | None) -> ImageComparison:
    where: Where = "left" if left else "right"
    return ImageComparison(
        name=name,
        where=where,
        same=False,
        left=left.digest if left else "",
        right=right.digest if right else "",
        layers=(len(left.diff_ids) if left else 0, len(right.diff_ids) if right else 0),
        first=f"only in the {where} record",
    )


def _compare_images(
    left: BuiltImage, right: BuiltImage, lefts: Mapping[str, BuiltImage], rights: Mapping[str, BuiltImage]
) -> ImageComparison:
    if left.digest == right.digest:
        return ImageComparison(
            name=left.name,
            where="both",
            same=True,
            left=left.digest,
            right=right.digest,
            layers=(len(left.diff_ids), len(right.diff_ids)),
        )
    layer = _first_layer(left.diff_ids, right.diff_ids)
    origin = _origin(left, right, lefts, rights, layer)
    return ImageComparison(
        name=left.name,
        where="both",
        same=False,
        left=left.digest,
        right=right.digest,
        layer=layer,
        layers=(len(left.diff_ids), len(right.diff_ids)),
        inherited_from=origin,
        first=_in_words(left, right, layer, origin),
        differences=(*_image_inputs(left, right), *_packages(left.packages, right.packages)),
    )


def _first_layer(left: list[str], right: list[str]) -> int | None:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return None if len(left) == len(right) else min(len(left), len(right))


def _origin(
    left: BuiltImage,
    right: BuiltImage,
    lefts: Mapping[str, BuiltImage],
    rights: Mapping[str, BuiltImage],
    layer: int | None,
) -> str:
    """The furthest ancestor in both records that holds the first differing layer; empty if it is the image itself."""
    if layer is None:
        return ""
    origin, seen = "", {left.name}
    while left.parent == right.parent and left.parent not in seen:
        one, other = lefts.get(left.parent), rights.get(right.parent)
        if one is None or other is None or _first_layer(one.diff_ids, other.diff_ids) != layer:
            break
        left, right, origin = one, other, one.name
        seen.add(origin)
    return origin


def _in_words(left: BuiltImage, right: BuiltImage, layer: int | None, origin: str) -> str:
    if layer is not None:
        counts = {len(left.diff_ids), len(right.diff_ids)}
        if layer >= min(counts):
            return f"one has {min(counts)} layers, the other {max(counts)}; the first {layer} are the same"
        of = f"layer {layer + 1} of {'/'.join(str(count) for count in sorted(counts))}"
        one, other = _short(left.diff_ids[layer]), _short(right.diff_ids[layer])
        return f"{of}: {one} ≠ {other}" + (f", inherited from {origin}" if origin else "")
    if left.id != right.id:
        return "all layers are the same; the image's configuration differs (timestamp, labels, history, environment)"
    return "layers and configuration are the same; only the manifest in the registry differs (compression, media type)"


def _image_inputs(left: BuiltImage, right: BuiltImage) -> Iterable[Difference]:
    yield from _values(
        {"parent": left.parent, "rendered folder": left.sealed, "timestamp": str(left.timestamp)},
        {"parent": right.parent, "rendered folder": right.sealed, "timestamp": str(right.timestamp)},
    )
    if left.cached_from != right.cached_from:
        yield Difference("taken from the cache of build", left.cached_from, right.cached_from)


def _packages(left: Iterable[Package], right: Iterable[Package]) -> Iterable[Difference]:
    yield from _values(_package_map(left), _package_map(right))


def _package_map(packages: Iterable[Package]) -> dict[str, str]:
    """``dpkg libc6:amd64`` → ``2.36-9``; the file's hash follows where it is known, since a version can be rebuilt."""
    found: dict[str, list[str]] = {}
    for package in packages:
        name = f"{package.kind} {package.name}" + (f":{package.arch}" if package.arch else "")
        file = f" (sha256 {package.sha256[:12]})" if package.sha256 else ""
        found.setdefault(name, []).append(package.version + file)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _inputs(left: Record, right: Record) -> Iterable[Difference]:
    yield from _values(_whole(left), _whole(right))
    yield from _values(
        {f"wheel {wheel.file} for {wheel.image}": f"{wheel.sha256} (key {wheel.key})" for wheel in left.wheels},
        {f"wheel {wheel.file} for {wheel.image}": f"{wheel.sha256} (key {wheel.key})" for wheel in right.wheels},
    )
    yield from _values(
        {f"served {served.path}": served.sha256 for served in left.served if served.origin != "wheel"},
        {f"served {served.path}": served.sha256 for served in right.served if served.origin != "wheel"},
    )


def _whole(record: Record) -> dict[str, str]:
    return {
        "state": record.state,
        "bundle digest": record.bundle.digest,
        "lock": record.bundle.lock,
        "definition": record.bundle.definition,
        "room": record.network.room,
        **{f"kolla {key}": value for key, value in record.kolla.items()},
        **{f"git {key}": value for key, value in record.git.items()},
        **{f"engine {key}": value for key, value in record.engine.items()},
    }


def _values(left: Mapping[str, str], right: Mapping[str, str]) -> Iterable[Difference]:
    """What differs between two maps, in the order of the left one, then what only the right one has."""
    for key in [*left, *(key for key in right if key not in left)]:
        one, other = left.get(key, ""), right.get(key, "")
        if one != other:
            yield Difference(key, one, other)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
