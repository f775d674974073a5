"""From the reading of a Dockerfile to the pip commands that the Python resolver follows."""

from __future__ import annotations

import fnmatch
import re
import tarfile
from pathlib import Path

import msgspec

from airlock.core.errors import UnclassifiedError
from airlock.kolla.reading.model import (
    Edit,
    ImageReading,
    PipInstall,
    RequirementFile,
    SourcePath,
    SourceRef,
    VenvCreate,
)
from airlock.lock.contents import Contents
from airlock.lock.gather import Gathered
from airlock.lock.python_model import PipLine, SourceTree

_DELETE_PIN = re.compile(r"/\^(?P<name>[A-Za-z0-9._-]+)===/d")
_CHANGE_PIN = re.compile(
    r"s/\^(?P<name>[A-Za-z0-9._-]+)===(?P<old>[A-Za-z0-9.]+)/(?P<new>[A-Za-z0-9._-]+===?[A-Za-z0-9.*]+)/g?"
)


class NewVenv(msgspec.Struct, frozen=True):
    """``python3 -m venv``: from here on ``path`` is an environment with ensurepip's wheels alone."""

    line: int
    path: str


PythonStep = PipLine | NewVenv


class PipLines:
    """Reads what pip commands are given: source trees, requirement and constraint files.

    Args:
        gathered: the readings.
        contents: what files that they name hold.
    """

    def __init__(self, gathered: Gathered, contents: Contents) -> None:
        self._gathered, self._contents = gathered, contents

    def steps(self, image: str) -> list[PythonStep]:
        """Virtual environments made and pip commands of one image, in order.

        Raises:
            UnclassifiedError: a file or source tree whose bytes cannot be told.
        """
        reading = self._gathered.readings[image]
        found: list[PythonStep] = []
        for command in reading.commands:
            if isinstance(command.detail, VenvCreate):
                found.append(NewVenv(command.line, command.detail.path))
            elif isinstance(command.detail, PipInstall):
                found.append(self._line(reading, command.detail))
        return found

    def _line(self, reading: ImageReading, pip: PipInstall) -> PipLine:
        where = f"image {reading.image}, line {pip.line}"
        return PipLine(
            line=pip.line,
            spec=" ".join(pip.words),
            requirements=pip.requirements,
            sources=tuple(tree for path in pip.source_paths for tree in self._trees(path, where)),
            requirement_texts=tuple(self._text(file, where) for file in pip.requirement_files),
            constraints="".join(self._text(file, where) for file in pip.constraint_files),
            upgrade=pip.upgrade,
            venv=pip.venv,
        )

    def _trees(self, path: SourcePath, where: str) -> list[SourceTree]:
        """``/keystone[ldap]`` is one archive; ``/plugins/*`` every plugin of this image and its parents, maybe none."""
        found: list[SourceTree] = []
        for ref in path.refs:
            if not isinstance(ref, SourceRef) or ref.edits:
                raise UnclassifiedError(f"{where}: what {path.path} holds cannot be told")
            if ref.top and ref.inner == "":
                found += self._contents.trees(ref)
            elif not ref.top:
                pattern = ref.inner.rpartition("/")[2]
                found += [tree for tree in self._contents.trees(ref) if fnmatch.fnmatch(top_folder(tree.path), pattern)]
            else:
                found += [msgspec.structs.replace(tree, folder=ref.inner) for tree in self._contents.trees(ref)]
        return [msgspec.structs.replace(tree, extras=path.extras) for tree in found]

    def _text(self, file: RequirementFile, where: str) -> str:
        return apply_edits(self._contents.text(file, where), file.ref.edits)


def apply_edits(text: str, edits: tuple[Edit, ...]) -> str:
    """A constraints file after the ``sed`` edits of Dockerfiles: pins deleted, pins changed.

    Raises:
        UnclassifiedError: an edit of another form.
    """
    for edit in edits:
        if found := _DELETE_PIN.fullmatch(edit.expression):
            lines = [line for line in text.splitlines() if not line.startswith(f"{found['name']}===")]
        elif found := _CHANGE_PIN.fullmatch(edit.expression):
            old = f"{found['name']}==={found['old']}"
            lines = [
                found["new"] + line.removeprefix(old) if line.startswith(old) else line for line in text.splitlines()
            ]
        else:
            raise UnclassifiedError(f"what `sed {edit.expression}` leaves of a constraints file cannot be told")
        text = "".join(line + "\n" for line in lines)
    return text


def top_folder(archive: Path) -> str:
    """Name of the single folder that a source archive holds, or an empty string."""
    with tarfile.open(archive, "r:*") as members:
        first = members.next()
        return first.name.split("/")[0] if first else ""
