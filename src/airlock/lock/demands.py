"""From the reading of a Dockerfile to demands: what each image asks for, in the lock's words, still without answers.

``lock`` answers these; ``validate`` compares them with what the lock holds. Both begin here, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from airlock.core.errors import ResolutionError, UnclassifiedError
from airlock.definition.model import Definition
from airlock.kolla.environment import SourceWant
from airlock.kolla.reading.model import (
    AptCommand,
    BaseImage,
    Command,
    Download,
    GitClone,
    ImageReading,
    KeyFetch,
    PipInstall,
    Playbook,
    SourceAdd,
    VendorRepository,
)
from airlock.kolla.render import RenderedImage
from airlock.lock.keys import is_key, key_spec
from airlock.lock.model import Demand, Kind

LEFT_OUT = "left out by the definition"
INSTEAD = "left out by the definition: the distribution's own packages instead"
NAMED: tuple[Kind, ...] = ("galaxy", "gem", "grafana-plugin")
"""Kinds that are called alike in a reading and in a lock, and whose words are the command's."""
CLONE: Kind = "git-clone"
_ARCHIVES = {"plugin": "plugins-archive", "addition": "additions-archive"}


def image_demands(
    reading: ImageReading,
    arch: str,
    parent: str,
    sections: Mapping[str, Sequence[str]],
    vendor_repositories: Sequence[str],
) -> list[Demand]:
    """The demands of one image, without answers.

    Args:
        reading: of the Dockerfile as upstream has it.
        arch: Kolla's name of the architecture.
        parent: name of the parent image; empty for a root, whose FROM is a demand.
        sections: archive in the build context → sections of kolla-build.conf that fill it (none for an empty one).
        vendor_repositories: those that the definition keeps.

    Raises:
        UnclassifiedError: a command may touch the network and no resolver claims it; all of them are named.
    """
    gaps = [gap_text(reading.image, command) for command in reading.unclassified]
    demands: list[Demand] = []
    for command in reading.commands:
        detail = command.detail
        if isinstance(detail, BaseImage):
            if parent:
                continue
            demands.append(_demand(arch, reading, command, "base-image", detail.reference))
        elif isinstance(detail, AptCommand):
            demands.append(_demand(arch, reading, command, "apt", " ".join(command.argv[1:])))
        elif isinstance(detail, PipInstall):
            demands.append(_demand(arch, reading, command, "python", " ".join(detail.words)))
        elif isinstance(detail, SourceAdd):
            for section in sections.get(detail.archive, ()):
                demands.append(_demand(arch, reading, command, "source", section))
        elif isinstance(detail, KeyFetch):
            demands.append(_demand(arch, reading, command, "key", key_spec(detail)))
        elif isinstance(detail, Download) and is_key(detail):
            demands.append(_demand(arch, reading, command, "key", detail.url))
        elif isinstance(detail, Download):
            demands.append(_demand(arch, reading, command, "file", detail.url))
        elif isinstance(detail, VendorRepository):
            note = "" if detail.name in vendor_repositories else LEFT_OUT
            demands.append(_demand(arch, reading, command, "vendor-repository", detail.name, note))
        elif isinstance(detail, GitClone):
            demands.append(_demand(arch, reading, command, CLONE, clone_spec(detail)))
        elif isinstance(detail, Playbook):
            gaps.append(_playbook_text(reading.image, command.line, detail))
        elif command.demand in NAMED:
            kind = next(kind for kind in NAMED if kind == command.demand)
            demands.append(_demand(arch, reading, command, kind, " ".join(command.argv[1:])))
        elif command.kind == "demand":
            gaps.append(f"image {reading.image}, line {command.line}: no resolver claims `{' '.join(command.argv)}`")
    if gaps:
        raise UnclassifiedError("\n".join(gaps))
    return demands


def clone_spec(clone: GitClone) -> str:
    """A clone in the lock's words."""
    return f"{clone.url} @ {clone.branch}" if clone.branch else clone.url


def _playbook_text(image: str, line: int, playbook: Playbook) -> str:
    return (
        f"image {image}, line {line}: what {', '.join(playbook.playbooks)} fetches cannot be told: a playbook clones, "
        "downloads and installs as its roles, variables and machine decide (leave the image out, [leave_out] in the "
        "definition, or write the commands that fetch into a template override in its place)"
    )


def vendor_repository_demands(image: RenderedImage, arch: str, definition: Definition) -> list[Demand]:
    """Vendor repositories that an image enables and the definition leaves out; they leave no trace in a Dockerfile.

    Raises:
        ResolutionError: the distribution's own packages would be taken in silence where Kolla means a vendor's.
    """
    missing = [name for name in image.repositories if name not in definition.vendor_repositories]
    if missing and image.name not in definition.distribution_packages:
        raise ResolutionError(
            f"image {image.name} ({arch}) takes packages from the vendor repositories {', '.join(missing)}, which the "
            "definition leaves out: the distribution's own would come in their place",
            remedy="Leave the image out ([leave_out]), or name it in distribution_packages if the distribution's own "
            "packages are meant.",
        )
    return [Demand(arch, image.name, 0, "vendor-repository", name, note=INSTEAD) for name in missing]


def _demand(arch: str, reading: ImageReading, command: Command, kind: Kind, spec: str, note: str = "") -> Demand:
    return Demand(arch, reading.image, command.line, kind, spec, note=note)


def gap_text(image: str, command: Command) -> str:
    """One line about a command that no rule knows."""
    remedy = f" ({command.remedy})" if command.remedy else ""
    return f"image {image}, line {command.line}: `{' '.join(command.argv)}` is not classified: {command.reason}{remedy}"


def archive_sections(sources: Iterable[SourceWant]) -> dict[str, list[str]]:
    """Archive in the build context → the sections of kolla-build.conf that fill it (Kolla's ``BuildTask``)."""
    found: dict[str, list[str]] = {}
    for source in sources:
        archive = f"{source.section}-archive" if source.role == "source" else _ARCHIVES[source.role]
        found.setdefault(archive, []).append(source.section)
    return found
