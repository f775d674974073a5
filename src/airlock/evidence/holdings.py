"""Which images hold this file? Asked of build records.

A record tells three things of a file: that a package of its name and version is installed in an image (dpkg's and
Python's own metadata), that the gateway served it to an image's build, and that a wheel built from it was used. What
reached the build of an image is in its layers unless the build removed it, so the image's descendants are named too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote

import msgspec

from airlock.evidence.query import Identity, Query, identify, plain_name, plain_version, same_package
from airlock.evidence.record import BuiltImage, Package, Record

How = Literal["installed", "wheel", "served", "inherited"]
_STRENGTH: tuple[How, ...] = ("installed", "wheel", "served", "inherited")


class Holding(msgspec.Struct, frozen=True):
    """One image that holds it.

    Attributes:
        build, time, state: id, start and end state of the build.
        image, digest, reference: the image, its digest in the registry and where it was published.
        how: ``installed`` (a package of the image), ``wheel`` (built from it), ``served`` (to the image's build),
            ``inherited`` (from the image that ``source`` names).
        kind, name, version, arch: the package, where it is one.
        file, sha256: the file, where the record knows it.
        source: the ancestor, or the file that a wheel was built from.
    """

    build: str
    time: str
    state: str
    image: str
    digest: str
    reference: str
    how: How
    kind: str = ""
    name: str = ""
    version: str = ""
    arch: str = ""
    file: str = ""
    sha256: str = ""
    source: str = ""


def holdings(records: Iterable[Record], query: Query) -> list[Holding]:
    """Every image of ``records`` that holds it, in the order of the builds, then of the images in the record."""
    found: list[Holding] = []
    for record in sorted(records, key=lambda record: (record.started, record.build_id)):
        found.extend(_in_record(record, query))
    return found


def _in_record(record: Record, query: Query) -> Iterator[Holding]:
    served, wanted = _served(record, query)
    direct: dict[str, dict[tuple[str, str, str, str], Holding]] = {image.name: {} for image in record.images}
    for image in record.images:
        mine = direct[image.name]
        for package in image.packages:
            if _is_looked_for(package, query, wanted):
                _add(mine, _installed(record, image, package, served))
        for wheel in _wheels(record, image, query, wanted):
            _add(mine, wheel)
        for file, sha256, images in served:
            if image.name in images:
                _add(mine, _from_file(record, image, "served", file, sha256))
    for image in record.images:
        mine = direct[image.name]
        for ancestor in _ancestors(record, image):
            for holding in direct[ancestor].values():
                if holding.how in ("served", "wheel"):
                    source = {"image": image.name, "digest": image.digest, "reference": image.reference}
                    _add(mine, msgspec.structs.replace(holding, how="inherited", source=ancestor, **source))
        yield from mine.values()


def _is_looked_for(package: Package, query: Query, wanted: list[Identity]) -> bool:
    if query.sha256 and package.sha256:
        return package.sha256 == query.sha256
    return any(_matches(package, identity) for identity in wanted)


def _served(record: Record, query: Query) -> tuple[list[tuple[str, str, list[str]]], list[Identity]]:
    """Served files that are the one looked for, and every package that is: the query's, and those files'."""
    files: list[tuple[str, str, list[str]]] = []
    wanted = [query.package] if query.package else []
    for served in record.served:
        if served.origin == "index":
            continue
        file = unquote(PurePosixPath(served.path).name)
        identity = identify(file)
        by_name = not query.file and query.package and identity and same_package(identity, query.package)
        if served.sha256 == query.sha256 or file == query.file or by_name:
            files.append((file, served.sha256, served.images))
            if identity and identity not in wanted:
                wanted.append(identity)
    return files, wanted


def _wheels(record: Record, image: BuiltImage, query: Query, wanted: list[Identity]) -> Iterator[Holding]:
    for wheel in record.wheels:
        if wheel.image != image.name:
            continue
        identity = identify(wheel.file)
        if (
            (query.sha256 and query.sha256 in (wheel.sha256, wheel.sdist))
            or wheel.file == query.file
            or (identity and any(same_package(identity, one) for one in wanted))
        ):
            holding = _from_file(record, image, "wheel", wheel.file, wheel.sha256)
            yield msgspec.structs.replace(holding, source=f"sdist {wheel.sdist}, built by {wheel.build}")


def _ancestors(record: Record, image: BuiltImage) -> Iterator[str]:
    by_name = {one.name: one for one in record.images}
    seen = {image.name}
    while (parent := by_name.get(image.parent)) and parent.name not in seen:
        seen.add(parent.name)
        yield parent.name
        image = parent


def _installed(
    record: Record, image: BuiltImage, package: Package, served: list[tuple[str, str, list[str]]]
) -> Holding:
    """An installed package; the file is the served one of its name, where the record has one."""
    file, sha256 = "", package.sha256
    for name, digest, _ in served:
        identity = identify(name)
        if identity and _matches(package, identity) and package.sha256 in ("", digest):
            file, sha256 = name, digest
    return Holding(
        *_build(record, image), how="installed", kind=package.kind, name=package.name, version=package.version,
        arch=package.arch, file=file, sha256=sha256,
    )  # fmt: skip


def _from_file(record: Record, image: BuiltImage, how: How, file: str, sha256: str) -> Holding:
    package = identify(file) or Identity(name=file)
    return Holding(
        *_build(record, image), how=how, kind=package.kind, name=package.name, version=package.version,
        arch=package.arch, file=file, sha256=sha256,
    )  # fmt: skip


def _build(record: Record, image: BuiltImage) -> tuple[str, str, str, str, str, str]:
    return record.build_id, record.started, record.state, image.name, image.digest, image.reference


def _add(mine: dict[tuple[str, str, str, str], Holding], holding: Holding) -> None:
    """Keep the strongest evidence for each package (or file) of an image."""
    kind = holding.kind
    key = (kind, plain_name(kind, holding.name), plain_version(kind, holding.version), holding.arch)
    known = mine.get(key)
    if known is None or _STRENGTH.index(holding.how) < _STRENGTH.index(known.how):
        mine[key] = holding


def _matches(package: Package, wanted: Identity) -> bool:
    return same_package(Identity(package.kind, package.name, package.version, package.arch), wanted)
