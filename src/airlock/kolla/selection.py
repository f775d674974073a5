"""Which images a definition means: all that Kolla can build, names, regular expressions, profiles; and which not.

What is named must be built or is an error. What is merely selected (``all``, an expression, a profile) is left out,
with a reason, where Kolla or the definition says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from airlock.core.errors import DefinitionError
from airlock.core.toml import nearest
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import WorkerImage

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


class Selection(msgspec.Struct, frozen=True):
    """What a definition means on one architecture.

    Attributes:
        images: those wanted and their ancestors, parents first, otherwise by name.
        left_out: image that was selected and is not among them → why.
    """

    images: tuple[WorkerImage, ...]
    left_out: dict[str, str]


def select(loaded: LoadedDefinition, images: Iterable[WorkerImage], version: str, arch: str) -> Selection:
    """Choose among the images that Kolla has.

    Args:
        images: all of them, with ``profiles`` for those that the definition asks for.
        version: Kolla's, for messages.
        arch: Kolla's name.

    Raises:
        DefinitionError: an unknown name, an expression or profile without an image, a named image that cannot be built
            here or that the definition itself leaves out.
    """
    by_name = {image.name: image for image in images}
    named, selected = _asked(loaded, by_name, f"{loaded.path}: Kolla {version}")
    where = f"{loaded.definition.base.distribution} for {arch}"
    chosen: dict[str, WorkerImage] = {}
    left_out: dict[str, str] = {}
    for name in sorted(named | selected):
        line = lineage(by_name, name)
        if not (reason := _reason(loaded.definition.leave_out, line)):
            chosen |= {image.name: image for image in line}
        elif name not in named:
            left_out[name] = reason
        elif any(image.name in loaded.definition.leave_out for image in line):
            raise DefinitionError(
                f"{loaded.path}: image {name} is asked for by name, and left out: {reason}",
                remedy="Remove it from images or [leave_out].",
            )
        else:
            raise DefinitionError(
                f"{loaded.path}: Kolla {version} says that image {name} cannot be built on {where}: {reason}",
                remedy="Leave it out, or set enable_unbuildable = true in [kolla.conf.DEFAULT] and see.",
            )
    if not chosen:
        raise DefinitionError(
            f"{loaded.path}: nothing is left to build on {where}", remedy="Leave out fewer images, or name others."
        )
    order = sorted(chosen.values(), key=lambda image: (len(lineage(by_name, image.name)), image.name))
    return Selection(tuple(order), left_out)


def wanted(words: Iterable[str], parents: Mapping[str, str], where: str) -> list[str]:
    """Images of a rendered definition that words mean, as in its ``images``, and their ancestors, in depth.

    Args:
        words: names and regular expressions; none for all images.
        parents: image → its parent, empty for a root.

    Raises:
        DefinitionError: an unknown name, or an expression without an image.
    """
    chosen: set[str] = set()
    for word in words:
        if _NAME.fullmatch(word) and word not in parents:
            raise DefinitionError(f"{where} has no image {word!r}{nearest(word, list(parents))}")
        chosen |= {word} if word in parents else _matching(word, parents, where)
    for name in list(chosen):
        while name := parents[name]:
            chosen.add(name)
    children: dict[str, list[str]] = {}
    for name in sorted(chosen or parents, reverse=True):
        children.setdefault(parents[name], []).append(name)
    order, todo = [], children.get("", [])
    while todo:
        name = todo.pop()
        order.append(name)
        todo += children.get(name, [])
    return order


def lineage(by_name: Mapping[str, WorkerImage], name: str) -> list[WorkerImage]:
    """An image and its ancestors, the root last.

    Raises:
        DefinitionError: an image is its own ancestor.
    """
    line = [by_name[name]]
    while parent := line[-1].parent:
        if any(one.name == parent for one in line):
            chain = " ← ".join([*(one.name for one in line), parent])
            raise DefinitionError(
                f"image {name} is built from itself: {chain}",
                remedy="Correct the FROM of one of them in Kolla's templates or in the overrides.",
            )
        line.append(by_name[parent])
    return line


def _asked(loaded: LoadedDefinition, by_name: Mapping[str, WorkerImage], kolla: str) -> tuple[set[str], set[str]]:
    """(images asked for by name, images that all, an expression or a profile brings)."""
    definition = loaded.definition
    everything = definition.images == "all"
    words = [] if everything else list(definition.images)
    named = {word for word in words if _NAME.fullmatch(word) or word in by_name}
    for name in (*sorted(named), *definition.leave_out, *definition.distribution_packages, *definition.checks):
        if name not in by_name:
            raise DefinitionError(f"{kolla} has no image {name!r}{nearest(name, list(by_name))}")
    selected = set(by_name) if everything else set()
    for word in words:
        if word not in named:
            selected |= _matching(word, by_name, kolla)
    for profile in definition.profile:
        found = {image.name for image in by_name.values() if profile in image.profiles}
        if not found:
            raise DefinitionError(f"{kolla}: the profile {profile} matches no image")
        selected |= found
    return named, selected


def _matching(expression: str, by_name: Iterable[str], kolla: str) -> set[str]:
    """As kolla-build searches the names with what stands on its command line."""
    try:
        found = {name for name in by_name if re.search(expression, name)}
    except re.error as error:
        raise DefinitionError(f"images: {expression!r} is no regular expression: {error}") from None
    if not found:
        raise DefinitionError(f"{kolla} has no image that {expression!r} matches")
    return found


def _reason(leave_out: Mapping[str, str], line: list[WorkerImage]) -> str:
    """Why the first image of a line is not built; empty where it is."""
    for image in line:
        by = "" if image is line[0] else f"its ancestor {image.name}: "
        if image.name in leave_out:
            return f"{by}{leave_out[image.name]}"
        if image.status == "unbuildable" and image.unbuildable:
            return f"{by}Kolla lists it as unbuildable on {image.unbuildable}"
    return "" if line[0].status == "matched" else f"Kolla's status is {line[0].status}"
