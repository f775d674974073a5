"""COPY and ADD: what of the build context, or which source archive, goes where."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Mapping

from airlock.kolla.dockerfile import Instruction
from airlock.kolla.reading.call import check_write
from airlock.kolla.reading.content import check_content
from airlock.kolla.reading.environment import expand
from airlock.kolla.reading.filesystem import FileSystem, normalise
from airlock.kolla.reading.model import Command, ContextRef, FileRef, Kind, RefusalError, SourceAdd, SourceRef, TextRef
from airlock.kolla.reading.rules import Rules
from airlock.kolla.reading.verdict import worst

ContextFiles = Callable[[str], bytes | None]

_COPY_FLAGS = re.compile(r"--(chown=[A-Za-z0-9_:.-]+|chmod=[0-7]{3,4})")
_BUNDLES = {"plugins-archive": "plugins", "additions-archive": "additions"}
_SHIM_FOLDERS = ("/usr/local/bin", "/usr/local/sbin")


class Copying:
    """Reads COPY and ADD of one image. ``shims``: sha256 of Airlock's own stand-ins for commands."""

    def __init__(
        self, image: str, fs: FileSystem, rules: Rules, context_files: ContextFiles, shims: frozenset[str]
    ) -> None:
        self.image = image
        self.fs = fs
        self.rules = rules
        self.context_files = context_files
        self.own_shims = shims
        self.workdir = "/"

    def read(self, one: Instruction, workdir: str, env: Mapping[str, str | None]) -> Command:
        """The command that a COPY or ADD is; what it puts where is remembered.

        Args:
            workdir: what relative targets are relative to.
            env: ENV and ARG, for its words.

        Raises:
            RefusalError: what is copied, or where to, cannot be told or is not allowed.
        """
        self.workdir = workdir
        for flag in one.flags:
            if not _COPY_FLAGS.fullmatch(flag):
                raise RefusalError(f"no rule knows the flag {flag} of {one.name}", "Copy from the build context only.")
        words = [expand(word, env, self.rules) for word in one.words]
        if one.json:
            words = list(one.words)
        if len(words) < 2 or any(not word for word in words):
            raise RefusalError("what is copied cannot be told", "Write the names out.")
        *sources, target = [word for word in words if word]
        argv = (one.name, *one.flags, *sources, target)
        if one.name == "ADD" and len(sources) == 1 and sources[0].endswith("-archive"):
            return self._add_archive(one, sources[0], target, argv)
        kind: Kind = "home"
        writes: list[str] = []
        reason = ""
        for source in sources:
            found, shim = self._copy_one(one, source, target, many=len(sources) > 1, writes=writes)
            kind, reason = worst(kind, found), reason or shim
        return Command(one.line, argv, kind, reason=reason, writes=tuple(writes))

    def _destination(self, target: str) -> str:
        if ".." in target.split("/"):
            raise RefusalError(f"{target}: a write to a path with ..", "Write the path without it.")
        path = normalise(posixpath.join(self.workdir, target))
        return path + "/" if target.endswith("/") and path != "/" else path

    def _copy_one(
        self, one: Instruction, source: str, target: str, *, many: bool, writes: list[str]
    ) -> tuple[Kind, str]:
        if "://" in source or source.startswith("git@"):
            raise RefusalError(f"{one.name} of the address {source}", "Add it as a source of Kolla, or curl it.")
        if any(c in source for c in "*?[") or ".." in source.split("/"):
            raise RefusalError(f"{source}: which files these are cannot be told", "Write the names out.")
        data = self.context_files(posixpath.normpath(source).lstrip("/"))
        destination = self._destination(target)
        folder = many or destination.endswith("/") or self.fs.known_folder(destination)
        if data is None:
            # A folder (its contents go into the target) or nothing: fine where anything may be.
            path = destination.rstrip("/") or "/"
            rule = check_write(self.fs, f"{path}/*".replace("//", "/"), "copy", None)
            self._note(path, TextRef(self.image, None), writes)
            return rule.kind, ""
        if one.name == "ADD" and not _is_text(data):
            raise RefusalError(f"ADD of {source}, which may be an archive", "Use COPY, or a source of Kolla.")
        name = posixpath.basename(source.rstrip("/"))
        path = f"{destination.rstrip('/')}/{name}" if folder else destination
        sha256 = hashlib.sha256(data).hexdigest()
        ref = ContextRef(self.image, source, sha256)
        if sha256 in self.own_shims and posixpath.dirname(path) in _SHIM_FOLDERS:
            self.fs.shims[posixpath.basename(path)] = path
            self._note(path, ref, writes)
            return "home", "Airlock's stand-in"
        rule = check_write(self.fs, path, "copy", ref)
        check_content(rule.content, path, data)
        self._note(path, ref, writes)
        return rule.kind, ""

    def _note(self, path: str, ref: FileRef, writes: list[str]) -> None:
        writes.append(path)
        self.fs.note(self.fs.canonical(path), ref)

    def _add_archive(self, one: Instruction, archive: str, target: str, argv: tuple[str, ...]) -> Command:
        path = self._destination(target).rstrip("/") or "/"
        if folder := _BUNDLES.get(archive):
            if path != "/":
                raise RefusalError(f"{archive} unpacked anywhere but at /")
            path = f"/{folder}"
            ref = SourceRef(self.image, archive, folder, top=False)
        elif re.fullmatch(r"/[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*-source", path):
            ref = SourceRef(self.image, archive, "")
        else:
            raise RefusalError(f"a source archive unpacked at {path}", "Unpack it at /NAME-source.")
        self.fs.note(path, ref)
        detail = SourceAdd(archive, path)
        return Command(one.line, argv, "demand", "source-add", writes=(path,), detail=detail)


def _is_text(data: bytes) -> bool:
    """Whether a file is surely no archive that ADD would unpack: valid UTF-8 without a zero byte."""
    try:
        return b"\0" not in data and isinstance(data.decode(), str)
    except UnicodeDecodeError:
        return False
