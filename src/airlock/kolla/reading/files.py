"""Dockerfiles on disk, each with the build context it lies in and the parents that can be found beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from airlock.core.errors import FormatError, UsageError
from airlock.kolla import shell
from airlock.kolla.dockerfile import MAX_SIZE, DockerfileError, parse
from airlock.kolla.reading.image import read_image, run_scripts
from airlock.kolla.reading.model import ImageReading, ImageState
from airlock.kolla.reading.rules import Rules

MAX_CONTEXT_FILE = 64 << 20
_LEVELS = 3


class FileReading(msgspec.Struct, frozen=True):
    """The reading of the Dockerfile at ``path``; ``parent`` as FROM names it, and where its Dockerfile was found."""

    path: str
    parent: str
    parent_path: str
    reading: ImageReading


def read_files(paths: Sequence[Path], rules: Rules) -> list[FileReading]:
    """Read Dockerfiles; the state of each begins with its parent's where the parent's Dockerfile can be found.

    A parent ``…/NAME:TAG`` is looked for among ``paths`` and beside the file, as Kolla lays out a rendered tree:
    ``NAME/Dockerfile`` or ``*/NAME/Dockerfile`` in one of the three folders above it.

    Raises:
        UsageError: a file does not exist.
        FormatError: a file is not UTF-8 text.
    """
    reader = _Files(paths, rules)
    reader.prepare(paths)
    return [reader.read(path) for path in paths]


class _Files:
    def __init__(self, paths: Sequence[Path], rules: Rules) -> None:
        self.rules = rules
        self.given = {_image_of(path): path for path in paths if path.name == "Dockerfile"}
        self.texts: dict[Path, str] = {}
        self.done: dict[Path, FileReading] = {}
        self.busy: set[Path] = set()

    def prepare(self, paths: Sequence[Path]) -> None:
        shell.prepare(script for path in paths for script in run_scripts(self.text(path)))

    def text(self, path: Path) -> str:
        if path not in self.texts:
            if not path.is_file():
                raise UsageError(f"{path}: no such file")
            with path.open("rb") as stream:
                data = stream.read(MAX_SIZE + 1)
            try:
                self.texts[path] = data.decode()
            except UnicodeDecodeError as error:
                raise FormatError(f"{path}: not UTF-8 text: {error}", remedy="Give a Dockerfile.") from error
        return self.texts[path]

    def read(self, path: Path) -> FileReading:
        if path in self.done:
            return self.done[path]
        self.busy.add(path)
        text = self.text(path)
        parent = _parent(text)
        found = self._find(path, parent)
        inherited = self.read(found).reading.state if found else ImageState()
        reading = read_image(
            text, image=_image_of(path), context_files=_context(path.parent), inherited=inherited, rules=self.rules
        )
        self.busy.discard(path)
        self.done[path] = FileReading(str(path), parent, str(found or ""), reading)
        return self.done[path]

    def _find(self, path: Path, parent: str) -> Path | None:
        name = parent.rpartition("/")[2].partition("@")[0].partition(":")[0]
        if not name or not all(character.isalnum() or character in "._-" for character in name):
            return None
        candidates = [self.given[name]] if name in self.given else []
        for folder in path.absolute().parents[1 : 1 + _LEVELS]:
            candidates += [folder / name / "Dockerfile", *sorted(folder.glob(f"*/{name}/Dockerfile"))[:1]]
        for candidate in candidates:
            if candidate.is_file() and candidate not in self.busy and not _same(candidate, path):
                return candidate
        return None


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _image_of(path: Path) -> str:
    """Kolla's name of the image whose Dockerfile this is: that of its folder."""
    return path.absolute().parent.name


def _parent(text: str) -> str:
    try:
        return next((one.words[0] for one in parse(text) if one.name == "FROM" and one.words), "")
    except DockerfileError:
        return ""


def _context(folder: Path) -> Callable[[str], bytes | None]:
    """Files of the build context; nothing outside of it, nothing that is no plain file or is too large."""

    def read(name: str) -> bytes | None:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file() or path.stat().st_size > MAX_CONTEXT_FILE:
            return None
        return path.read_bytes()

    return read
