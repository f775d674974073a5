"""The files below /etc/apt that Dockerfiles write, and what they mean to the solver."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import msgspec

from airlock.core.errors import ResolutionError, UnclassifiedError
from airlock.kolla.apt_sources import AptSource, parse_source_file
from airlock.lock.apt_state import AptState

_PREFERENCES = "/etc/apt/preferences"
LISTS = "/etc/apt/sources.list"


class AptFile(msgspec.Struct, frozen=True):
    """A write to a file below /etc/apt; ``data`` None removes it."""

    path: str
    data: bytes | None


def written(state: AptState, file: AptFile, image: str) -> AptState:
    """The state after a write: source lists and preferences count, keys do not.

    Raises:
        UnclassifiedError: any other file, as it could make apt do anything.
    """
    path = PurePosixPath(file.path)
    folder = str(path.parent)
    is_list = file.path == LISTS or (folder == f"{LISTS}.d" and path.suffix in (".list", ".sources"))
    is_pin = file.path == _PREFERENCES or folder == f"{_PREFERENCES}.d"
    if is_list or is_pin:
        etc = {name: text for name, text in state.etc.items() if name != file.path}
        if file.data is not None:
            etc[file.path] = file.data.decode("utf-8", "replace")
        return state.replace(etc=etc)
    if file.data is None:
        return state.replace(etc={name: text for name, text in state.etc.items() if name != file.path})
    if folder in ("/etc/apt/trusted.gpg.d", "/etc/apt/keyrings"):
        return state
    raise UnclassifiedError(
        f"image {image}: writes {file.path}, whose effect on apt is not known",
        remedy="Only source lists (.list, .sources), preferences and keys may be written below /etc/apt.",
    )


def preferences_in_force(state: AptState) -> dict[str, str]:
    """Name below /etc/apt → text of the preferences files."""
    return {path.removeprefix("/etc/apt/"): text for path, text in state.etc.items() if path.startswith(_PREFERENCES)}


def settings_in_force(state: AptState) -> dict[str, str]:
    """Name in ``apt.conf.d`` → text of a base image's settings; its apt.conf is read last, as apt does."""
    found = {path.removeprefix("/etc/apt/"): text for path, text in state.etc.items() if "/apt.conf" in path}
    return {name.removeprefix("apt.conf.d/") if "/" in name else "zzzzzzzz-main": text for name, text in found.items()}


def sources_in_force(state: AptState, known: Sequence[AptSource], where: str) -> list[AptSource]:
    """The sources that the state's source lists name, in apt's order, as they stand in ``known``.

    Raises:
        ResolutionError: one of them is not known.
    """
    by_place = {(source.address, source.suite): source for source in known}
    found: list[AptSource] = []
    for path, text in state.etc.items():
        for line in parse_source_file(path, text) if path.startswith(LISTS) else ():
            source = by_place.get((line.address, line.suite))
            if source is None or not set(line.components) <= set(source.components):
                raise ResolutionError(
                    f"{where}: {path} names {line.address} {line.words}, which is not among the sources of this lock",
                    remedy="Leave that source out by an override of Kolla's templates.",
                )
            found.append(msgspec.structs.replace(source, components=line.components))
    return found
