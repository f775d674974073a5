"""What a build writes and where it leads: places, links, the origin of files.

Everything here is "may": a link that one branch makes counts for all that follows, beside the path without it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from airlock.kolla.reading.model import (
    Edit,
    EditAt,
    FileAt,
    FileRef,
    GoneRef,
    ImageState,
    Link,
    RefusalError,
    VenvCreate,
)
from airlock.kolla.reading.rules import Operation, PlaceRule, Rules

# Debian's and Fedora's merged /usr and /run: the left name is a link to the right one.
_MERGED = (
    ("/bin", "/usr/bin"),
    ("/sbin", "/usr/sbin"),
    ("/lib", "/usr/lib"),
    ("/lib32", "/usr/lib32"),
    ("/lib64", "/usr/lib64"),
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
)
_FOLLOW = 8


def normalise(path: str) -> str:
    """An absolute path without ``.``, ``..``, double slashes and the links every image has."""
    path = "/" + posixpath.normpath(path).lstrip("/")
    for link, target in _MERGED:
        if path == link or path.startswith(link + "/"):
            path = target + path[len(link) :]
    return path


def is_below(path: str, top: str) -> bool:
    """Whether ``path`` is ``top`` or below it."""
    return top == "/" or path == top or path.startswith(top + "/")


@lru_cache(maxsize=4096)
def _segment(pattern: str) -> re.Pattern[str]:
    return re.compile("".join(".*" if c == "*" else re.escape(c) for c in pattern), re.DOTALL)


def covers(pattern: str, path: str) -> bool:
    """Whether a place's pattern covers ``path`` or a folder above it; dot files only where the pattern names them."""
    wanted, found = pattern.strip("/").split("/"), path.strip("/").split("/")
    if len(found) < len(wanted):
        return False
    for want, have in zip(wanted, found, strict=False):
        if have.startswith(".") and not want.startswith("."):
            return False
        if not _segment(want).fullmatch(have):
            return False
    return not any(name.startswith(".") for name in found[len(wanted) :])


def may_overlap(path: str, protected: str) -> bool:
    """Whether ``path`` (globs as typed) may be ``protected``, above it or below it."""
    for have, want in zip(path.strip("/").split("/"), protected.strip("/").split("/"), strict=False):
        if not have:
            return True
        if any(c in have for c in "*?["):
            head = re.split(r"[*?\[]", have, maxsplit=1)[0]
            if not want.startswith(head):
                return False
        elif have != want:
            return False
    return True


def is_below_pattern(path: str, top: str) -> bool:
    """Whether ``path`` (globs as typed) is surely strictly below ``top``."""
    return len(path.strip("/").split("/")) > len(top.strip("/").split("/")) and may_overlap(path, top)


def _strictness(rule: PlaceRule) -> tuple[bool, bool]:
    return (rule.content != "any", rule.kind == "network-config")


class FileSystem:
    """The writes of one image on top of its parents', and the rules about them."""

    def __init__(self, image: str, state: ImageState, rules: Rules) -> None:
        self.image = image
        self.rules = rules
        self.places = rules.all_places()
        self.files: list[FileAt] = list(state.files)
        self.links: list[Link] = list(state.links)
        self.edits: list[EditAt] = list(state.edits)
        self.venvs: list[VenvCreate] = list(state.venvs)
        self.shims: dict[str, str] = dict(state.shims)
        self.written: dict[str, None] = dict.fromkeys(state.written)
        self.path_entries: tuple[str, ...] = ()

    # Reading

    def follow(self, path: str) -> tuple[str, ...]:
        """``path`` and everything it may be when the links made so far are followed."""
        found = {path: None}
        frontier = [path]
        for _ in range(_FOLLOW):
            reached = []
            for one in frontier:
                for link in self.links:
                    if is_below(one, link.path):
                        target = normalise(link.target + one[len(link.path) :])
                        if target not in found:
                            found[target] = None
                            reached.append(target)
            if not reached:
                return tuple(found)
            frontier = reached
        raise RefusalError(f"{path} leads through too many links")

    def canonical(self, path: str) -> str:
        """Where ``path`` leads by the latest links."""
        return self.follow(path)[-1]

    def at(self, path: str) -> FileRef | None:
        """What the last write put exactly at ``path``."""
        for entry in reversed(self.files):
            if entry.path == path:
                return entry.ref
        return None

    def below(self, path: str) -> tuple[FileAt, ...]:
        """The files written at or below ``path``, the last state of each."""
        last = {entry.path: entry for entry in self.files if is_below(entry.path, path)}
        return tuple(
            FileAt(entry.path, msgspec.structs.replace(entry.ref, edits=(*entry.ref.edits, *self.edits_of(entry.path))))
            for entry in last.values()
        )

    def edits_of(self, path: str) -> tuple[Edit, ...]:
        """The edits made at ``path``."""
        return tuple(entry.edit for entry in self.edits if entry.path == path)

    # Writing

    def place(self, paths: Iterable[str], operation: Operation) -> PlaceRule:
        """The rule for a write, by every path it may really be: the strictest of their rules.

        Raises:
            RefusalError: one of them is in no place that a rule names.
        """
        strictest: PlaceRule | None = None
        for path in paths:
            rule = self._one_place(path, operation)
            if strictest is None or _strictness(rule) > _strictness(strictest):
                strictest = rule
        assert strictest is not None
        return strictest

    def _one_place(self, path: str, operation: Operation) -> PlaceRule:
        protected = [entry for entry in self.path_entries if may_overlap(path, entry)]
        protected += [venv.path for venv in self.venvs if may_overlap(path, venv.path)]
        for rule in self.places:
            if (rule.by and operation not in rule.by) or any(is_below(path, one) for one in rule.exclude):
                continue
            for pattern in rule.paths:
                if covers(pattern, path) and all(is_below(pattern, entry) for entry in protected):
                    return rule
        raise RefusalError(
            f"it writes {path} ({operation}), a place that no rule names",
            "Write somewhere else, or add the place to [[place]] of the rules if nothing that a build runs reads it.",
        )

    def known_folder(self, path: str) -> bool:
        """Whether ``path`` is surely a folder already."""
        return path in self.path_entries or path in ("/", "/opt", "/tmp", "/etc", "/usr/bin", "/usr/sbin", "/root")  # noqa: S108

    def note(self, path: str, ref: FileRef) -> None:
        """Remember what is at ``path`` now."""
        if isinstance(ref, GoneRef):
            # Only what is surely gone; a pattern may have matched or not.
            self.written = {one: None for one in self.written if not is_below(one, path)}
        else:
            self.written[path] = None
        self.files.append(FileAt(path, ref))
        self.edits = [entry for entry in self.edits if not is_below(entry.path, path)]

    def add_link(self, path: str, target: str) -> None:
        """Remember a symbolic link; a relative target is relative to the folder of ``path``."""
        absolute = normalise(posixpath.join(posixpath.dirname(path), target))
        self.written[path] = None
        self.links.append(Link(path, absolute))

    def add_venv(self, venv: VenvCreate) -> None:
        """Remember a virtual environment.

        Raises:
            RefusalError: something was written there before.
        """
        if venv.path not in self.rules.venvs:
            raise RefusalError(f"no rule knows a virtual environment at {venv.path}")
        self.require_untouched((venv.path,))
        self.venvs.append(venv)

    def require_untouched(self, places: Sequence[str]) -> None:
        """Refuse if a write may have put something below ``places`` already."""
        for path in self.written:
            for place in places:
                if may_overlap(path, place):
                    raise RefusalError(f"{path}, written before, may be part of {place}")

    def set_path(self, entries: tuple[str, ...]) -> None:
        """Commands are looked for in ``entries`` from now on.

        Raises:
            RefusalError: something may have been written into a new one before.
        """
        new = [entry for entry in entries if entry not in self.path_entries]
        bins = {f"{venv.path}/bin" for venv in self.venvs}
        if self.path_entries:
            self.require_untouched([entry for entry in new if entry not in bins])
        self.path_entries = (*self.path_entries, *new)

    def state(self, env: dict[str, str | None], workdir: str, user: str) -> ImageState:
        """What child images inherit."""
        return ImageState(
            env=env,
            workdir=workdir,
            user=user,
            files=tuple(self.files),
            links=tuple(dict.fromkeys(self.links)),
            edits=tuple(self.edits),
            venvs=tuple(self.venvs),
            shims=dict(self.shims),
            written=tuple(self.written),
        )
