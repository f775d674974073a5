"""From the reading of a Dockerfile to the steps that the apt resolver follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from airlock.core.errors import UnclassifiedError
from airlock.kolla.reading.model import AptCommand as ReadApt
from airlock.kolla.reading.model import ContextRef, FileRef, GoneRef, ImageReading, RepositoryRef, TextRef
from airlock.lock.apt_resolver import AptCommand, AptFile, AptStep


def apt_steps(
    reading: ImageReading,
    context: Callable[[str, str], bytes | None],
    already: dict[str, bytes | None],
    by_extrepo: Mapping[str, str],
) -> list[AptStep]:
    """Apt's commands and the files below /etc/apt that count for them, in the order of the Dockerfile.

    Args:
        reading: of one image.
        context: (image, name) → bytes of a file in that image's build context.
        already: what is below /etc/apt when the image begins; brought up to date.
        by_extrepo: repository → the source that ``extrepo enable`` writes; of another one, none is written.

    Raises:
        UnclassifiedError: a file below /etc/apt whose bytes cannot be told.
    """
    steps: list[AptStep] = []
    for command in reading.commands:
        detail = command.detail
        if not isinstance(detail, ReadApt):
            continue
        for file in detail.config:
            if isinstance(file.ref, RepositoryRef) and file.ref.name not in by_extrepo:
                continue
            data = None if isinstance(file.ref, GoneRef) else _bytes(file.ref, context, by_extrepo)
            if data is None and not isinstance(file.ref, GoneRef):
                raise UnclassifiedError(
                    f"image {reading.image}, line {command.line}: what {file.path} holds cannot be told"
                )
            if file.path not in already or already[file.path] != data:
                already[file.path] = data
                steps.append(AptFile(file.path, data))
        steps.append(AptCommand(command.argv, command.line))
    return steps


def _bytes(ref: FileRef, context: Callable[[str, str], bytes | None], by_extrepo: Mapping[str, str]) -> bytes | None:
    if isinstance(ref, ContextRef) and not ref.edits:
        return context(ref.image, ref.name)
    if isinstance(ref, TextRef) and not ref.edits and ref.text is not None:
        return ref.text.encode()
    if isinstance(ref, RepositoryRef) and not ref.edits:
        return by_extrepo[ref.name].encode()
    return None
