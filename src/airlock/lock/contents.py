"""Bytes of files that a Dockerfile hands to a program: from the build context, a source archive, or a download."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from airlock.core.errors import UnclassifiedError
from airlock.kolla.reading.model import ContextRef, DownloadRef, FileRef, RequirementFile, SourceRef
from airlock.lock.archives import read_members
from airlock.lock.demands import archive_sections
from airlock.lock.gather import Gathered
from airlock.lock.python_model import SourceTree

MAX_TEXT = 16 << 20


class Contents:
    """Reads what is locked by then.

    Args:
        gathered: the readings.
        archives: section of kolla-build.conf → the locked archive.
        downloads: address that a RUN fetches → the locked file.
    """

    def __init__(
        self, gathered: Gathered, archives: Mapping[str, SourceTree], downloads: Mapping[str, Path] | None = None
    ) -> None:
        self._gathered, self._archives, self._downloads = gathered, archives, downloads or {}

    def trees(self, ref: SourceRef) -> list[SourceTree]:
        """The archives that fill an archive of the build context."""
        sources = self._gathered.tree.by_name[ref.image].sources
        return [self._archives[section] for section in archive_sections(sources).get(ref.archive, ())]

    def text(self, file: RequirementFile, where: str) -> str:
        """A file as it was before the Dockerfiles' own edits.

        Raises:
            UnclassifiedError: what it holds cannot be told, or is no text.
        """
        data = self._bytes(file.ref)
        if data is None:
            raise UnclassifiedError(f"{where}: what {file.path} holds cannot be told")
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise UnclassifiedError(f"{where}: {file.path} is no text in UTF-8") from None

    def _bytes(self, ref: FileRef) -> bytes | None:
        if isinstance(ref, ContextRef):
            return self._gathered.context(ref.image, ref.name)
        if isinstance(ref, DownloadRef) and (path := self._downloads.get(ref.url)) is not None:
            return path.read_bytes() if path.stat().st_size <= MAX_TEXT else None
        if isinstance(ref, SourceRef) and ref.top:
            for tree in self.trees(ref):
                if (data := read_member(tree.path, ref.inner)) is not None:
                    return data
        return None


def read_member(archive: Path, inner: str) -> bytes | None:
    """A file below the top folder of a source archive.

    Raises:
        FormatError: it is no archive.
    """
    found = read_members(archive, archive.name, lambda name: name.partition("/")[2] == inner, MAX_TEXT)
    return next((data for _, data in found), None)
