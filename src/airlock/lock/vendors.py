"""Vendor repositories that are kept: which sources the images enable, and that their packages come from there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from airlock.core.errors import AirlockError, FormatError, ResolutionError, UnclassifiedError
from airlock.kolla.apt_sources import AptSource, parse_source_file
from airlock.kolla.reading.model import AptCommand as ReadApt
from airlock.kolla.reading.model import ImageReading, TextRef
from airlock.kolla.render import RenderedImage
from airlock.lock.apt_files import LISTS, AptFile
from airlock.lock.apt_resolver import AptCommand, AptResult, AptStep
from airlock.lock.apt_words import parse_words


def enabled_sources(readings: Iterable[ImageReading]) -> list[AptSource]:
    """Every source that a ``.sources`` file names which a Dockerfile writes, by name.

    Raises:
        UnclassifiedError: a file whose meaning cannot be told; image and line are named.
    """
    found: dict[tuple[str, str, str], AptSource] = {}
    for reading in readings:
        for command in reading.commands:
            for file in command.detail.config if isinstance(command.detail, ReadApt) else ():
                if not file.path.endswith(".sources") or not isinstance(file.ref, TextRef) or file.ref.text is None:
                    continue  # what cannot be told is refused where apt's steps are made
                try:
                    sources = parse_source_file(file.path, file.ref.text)
                except FormatError as error:
                    raise UnclassifiedError(f"image {reading.image}, line {command.line}: {error.message}") from None
                found |= {(one.upstream, one.address, one.suite): one for one in sources}
    return [found[key] for key in sorted(found)]


def require_reached(image: str, arch: str, steps: Sequence[AptStep], lost: Mapping[str, AirlockError]) -> None:
    """See that an image enables no vendor's repository that cannot be had.

    Args:
        steps: what the image writes below /etc/apt, and its apt commands.
        lost: upstream → why.

    Raises:
        AirlockError: of the same class, for this image.
    """
    for step in steps if lost else ():
        if not isinstance(step, AptFile) or step.data is None or not step.path.startswith(LISTS):
            continue
        for source in parse_source_file(step.path, step.data.decode("utf-8", "replace")):
            if why := lost.get(source.upstream):
                raise type(why)(
                    f"image {image} ({arch}) enables the vendor repository {source.upstream}, which cannot be had: "
                    f"{why.message}",
                    remedy=f"{why.remedy} Or take {source.upstream} out of vendor_repositories, and leave out the "
                    "images that need it.".lstrip(),
                )


def require_vendors(
    image: RenderedImage,
    arch: str,
    kept: Collection[str],
    steps: Sequence[AptStep],
    result: AptResult,
    offering: Callable[[str], set[str]],
) -> None:
    """See that what an image names came from the vendor whose repository it enables.

    Args:
        kept: repositories that the definition keeps.
        steps, result: the image's apt commands and what they install.
        offering: name of a package → the upstreams that have it.

    Raises:
        ResolutionError: a named package came from elsewhere although the vendor has it, or none came from a vendor.
    """
    vendors = {name for name in image.repositories if name in kept}
    named = {
        name for step in steps if isinstance(step, AptCommand) for name in parse_words(step.words, image.name).named
    }
    installed = [artifact for artifact in result.artifacts if artifact.name in named]
    if not vendors or not installed:
        return
    wrong = [
        artifact for artifact in installed if artifact.upstream not in vendors and offering(artifact.name) & vendors
    ]
    remedy = (
        "See which version the vendor's repository has, and which one the image's preferences pin; or name the image "
        "in distribution_packages if the distribution's own packages are meant."
    )
    for artifact in wrong:
        theirs = ", ".join(sorted(offering(artifact.name) & vendors))
        raise ResolutionError(
            f"image {image.name} ({arch}) enables the vendor repository {theirs}, which has {artifact.name}; but "
            f"{artifact.version} of {artifact.upstream} would be installed",
            remedy=remedy,
        )
    if not any(artifact.upstream in vendors for artifact in installed):
        raise ResolutionError(
            f"image {image.name} ({arch}) enables the vendor repositories {', '.join(sorted(vendors))}, but none of "
            f"{', '.join(sorted(artifact.name for artifact in installed))} comes from there",
            remedy=remedy,
        )
