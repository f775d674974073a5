"""One command as its handler sees it, and what the handler says about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from airlock.kolla.reading.filesystem import FileSystem, normalise
from airlock.kolla.reading.model import (
    ContextRef,
    Detail,
    DownloadRef,
    FileRef,
    Kind,
    RefusalError,
    RepositoryRef,
    RequirementFile,
    TextRef,
    VenvCreate,
)
from airlock.kolla.reading.options import Arguments
from airlock.kolla.reading.resolve import find
from airlock.kolla.reading.rules import CommandRule, Operation, PlaceRule, Rules
from airlock.kolla.reading.state import Shell
from airlock.kolla.reading.verdict import Verdict
from airlock.kolla.reading.walk import Walk
from airlock.kolla.reading.words import Word


class Call(msgspec.Struct):
    """A command about to be judged. ``shell`` is the state after success and may be changed by the handler.

    ``path``: the program's path, when it was called by path. ``venv``: the virtual environment it is found in.
    ``start``: offset of the command's first byte in the text of the RUN.
    """

    image: str
    name: str
    path: str
    venv: VenvCreate | None
    words: Sequence[Word]
    nodes: Sequence[dict[str, Any]]
    args: Arguments
    rule: CommandRule
    rules: Rules
    fs: FileSystem
    shell: Shell
    walk: Walk
    line: int
    condition: str
    writes: list[str]
    start: int

    @property
    def operands(self) -> list[Word]:
        """The operands after the subcommand."""
        return self.args.operands[len(self.rule.subcommand) :]

    def verdict(self, detail: Detail | None = None, **more: Any) -> Verdict:
        """The rule's own verdict."""
        return Verdict(self.rule.kind, self.rule.demand, detail, **more)

    def known(self, word: Word, what: str) -> str:
        """The exact text of ``word``.

        Raises:
            RefusalError: it cannot be told.
        """
        if word.known is None:
            raise RefusalError(f"{what} {word.text} cannot be told", "Write it out.")
        return word.known

    def pattern(self, word: Word, what: str) -> str:
        """The text of ``word`` with its globs.

        Raises:
            RefusalError: it cannot be told.
        """
        if word.pattern is None:
            raise RefusalError(f"{what} {word.text} cannot be told", "Write it out.")
        return word.pattern

    def absolute(self, text: str) -> tuple[str, ...]:
        """The paths that ``text`` may be, from every folder the shell may be in."""
        return absolute(text, self.shell)

    def origin(self, text: str) -> tuple[str, tuple[FileRef, ...]]:
        """An absolute path for ``text`` and what is there.

        Raises:
            RefusalError: the folder the shell is in cannot be told.
        """
        paths = self.absolute(text)
        if len(paths) != 1:
            raise RefusalError(f"{text}: the folder it is in cannot be told", "Write an absolute path.")
        return paths[0], find(self.fs.files, self.fs.links, self.fs.edits, paths[0])

    def obligation(self, word: Word, what: str) -> RequirementFile:
        """A file that must be read before resolving, with where it comes from.

        Raises:
            RefusalError: where it comes from cannot be told.
        """
        text = self.known(word, what)
        if "://" in text:
            raise RefusalError(f"{what} {text} is an address", "Put the file into a source or the build context.")
        path, refs = self.origin(text)
        if len(refs) != 1 or (isinstance(refs[0], TextRef) and refs[0].text is None):
            raise RefusalError(f"{what} {path}: what it holds cannot be told", "Copy it from a source or the context.")
        return RequirementFile(path, refs[0])

    def write(self, word: Word, operation: Operation, ref: FileRef | None = None) -> Kind:
        """Judge and remember a write to the path ``word``.

        Raises:
            RefusalError: the path or what is written is not allowed.
        """
        return self.write_path(self.known(word, "the path"), operation, ref)

    def write_path(self, text: str, operation: Operation, ref: FileRef | None = None) -> Kind:
        """As ``write``, for a path as text (globs in it stand for any name)."""
        kind: Kind = "home"
        for path in writable(text, self.shell):
            rule = check_write(self.fs, path, operation, ref)
            if rule.kind == "network-config":
                kind = "network-config"
            place = self.fs.canonical(path)
            self.writes.append(path)
            self.fs.note(place, self._conditional(ref or TextRef(self.image, None)))
        return kind

    def _conditional(self, ref: FileRef) -> FileRef:
        """What is there after a write that may not have happened cannot be told."""
        told = isinstance(ref, TextRef | ContextRef | RepositoryRef)
        return TextRef(self.image, None) if self.condition and told else ref


def absolute(text: str, shell: Shell) -> tuple[str, ...]:
    """The normalised paths ``text`` may be."""
    if text.startswith("/"):
        return (normalise(text),)
    if shell.cwd is None:
        raise RefusalError(f"{text}: the folder it is in cannot be told", "Write an absolute path.")
    return tuple(sorted(normalise(f"{folder}/{text}") for folder in shell.cwd))


def writable(text: str, shell: Shell) -> tuple[str, ...]:
    """As ``absolute``, for a path that is written: ``..`` and hidden globs are not followed."""
    if ".." in text.split("/"):
        raise RefusalError(f"{text}: a write to a path with ..", "Write the path without it.")
    if any(part.startswith(".") and any(c in part for c in "*?[") for part in text.split("/")):
        raise RefusalError(f"{text}: this pattern may match ..", "Write the names out.")
    if not text:
        raise RefusalError("a write to no path")
    return absolute(text, shell)


def check_write(fs: FileSystem, path: str, operation: Operation, ref: FileRef | None) -> PlaceRule:
    """The place of a write, if what is written may stand there.

    Raises:
        RefusalError: no rule names the place, or the content is not known as it must be.
    """
    rule = fs.place(fs.follow(path), operation)
    content = rule.content
    context = isinstance(ref, ContextRef)
    known = context or isinstance(ref, DownloadRef | RepositoryRef)
    known = known or (isinstance(ref, TextRef) and ref.text is not None)
    if (content == "text" and not known) or (content not in ("any", "text") and not context):
        raise RefusalError(
            f"what it writes to {path} cannot be told", "Copy the file from the build context, or echo its lines."
        )
    return rule


Handler = Callable[[Call], Verdict]
