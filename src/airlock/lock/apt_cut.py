"""Cut apt's lists down to what a set of commands can reach: apt reads them anew for every command.

Reachable is what the commands name, what a base image is made of, and whatever these may bring in by Depends,
Pre-Depends or Recommends, by name or by Provides. apt comes to the same plans from the rest (docs/ecosystems/apt.md).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

_PACKAGE = re.compile(rb"^Package: (\S+)", re.MULTILINE)
_PROVIDES = re.compile(rb"^Provides: ([^\n]+)", re.MULTILINE)
_ALWAYS = re.compile(rb"^(?:Essential: yes|Important: yes|Priority: (?:required|important))$", re.MULTILINE)
_BRINGS = re.compile(rb"^(?:Pre-Depends|Depends|Recommends): ([^\n]+)", re.MULTILINE)
_NAME = re.compile(rb"[a-z0-9][a-z0-9+.-]*")
_PATTERN = re.compile(r"[*?\[\]^$|()]")


class _Stanza(msgspec.Struct, frozen=True):
    file: int
    start: int
    end: int


def cut_lists(files: Sequence[Path], roots: Iterable[str]) -> tuple[int, int]:
    """Rewrite Packages files in place so that they hold only what is reachable; order and bytes of a stanza stay.

    Args:
        files: uncompressed Packages files.
        roots: names, and patterns as apt takes them on its command line (globs; regular expressions match by search).

    Returns:
        (stanzas kept, stanzas there were).
    """
    texts = [path.read_bytes() if path.exists() else b"" for path in files]
    stanzas: dict[bytes, list[_Stanza]] = {}
    providers: dict[bytes, set[bytes]] = {}
    wanted: set[bytes] = {b"apt"}
    for number, text in enumerate(texts):
        for start, end in _bounds(text):
            found = _PACKAGE.search(text, start, end)
            if found is None:
                continue
            name = found[1]
            stanzas.setdefault(name, []).append(_Stanza(number, start, end))
            if provided := _PROVIDES.search(text, start, end):
                for other in _names(provided[1]):
                    providers.setdefault(other, set()).add(name)
            if _ALWAYS.search(text, start, end):
                wanted.add(name)
    wanted |= _chosen(roots, stanzas.keys() | providers.keys())
    reached = _reach(wanted, stanzas, providers, texts)
    kept = sorted((place.file, place.start, place.end) for name in reached for place in stanzas.get(name, ()))
    for number, path in enumerate(files):
        if path.exists():
            path.write_bytes(b"".join(texts[number][start:end] + b"\n" for file, start, end in kept if file == number))
    return len(kept), sum(map(len, stanzas.values()))


def _bounds(text: bytes) -> Iterable[tuple[int, int]]:
    """(start, end) of each stanza, its last newline included."""
    start = 0
    while start < len(text):
        end = text.find(b"\n\n", start)
        end = len(text) if end < 0 else end + 1
        yield start, end
        start = end + 1


def _names(relation: bytes) -> set[bytes]:
    """Names in a relation field: versions, architectures and alternatives aside (Debian Policy 7.1)."""
    found = (_NAME.match(word.strip()) for word in re.split(rb"[,|]", relation))
    return {match[0] for match in found if match}


def _chosen(roots: Iterable[str], known: Iterable[bytes]) -> set[bytes]:
    names = {name.decode("utf-8", "replace"): name for name in known}
    chosen: set[bytes] = set()
    for root in roots:
        # apt's own suffixes: =version, /suite, + and - (install or remove), :architecture.
        bare = re.split(r"[=/:]", root, maxsplit=1)[0]
        chosen |= {names[word] for word in (bare, bare.rstrip("+-")) if word in names}
        if _PATTERN.search(root):
            chosen |= {raw for name, raw in names.items() if fnmatch.fnmatchcase(name, root) or _matches(root, name)}
    return chosen


def _matches(expression: str, name: str) -> bool:
    try:
        return re.search(expression, name) is not None
    except re.error:
        return False


def _reach(
    wanted: set[bytes], stanzas: dict[bytes, list[_Stanza]], providers: dict[bytes, set[bytes]], texts: Sequence[bytes]
) -> set[bytes]:
    reached: set[bytes] = set()
    pending = set(wanted)
    while pending:
        name = pending.pop()
        if name in reached:
            continue
        reached.add(name)
        pending |= providers.get(name, set()) - reached
        for place in stanzas.get(name, ()):
            for field in _BRINGS.finditer(texts[place.file], place.start, place.end):
                pending |= _names(field[1]) - reached
    return reached
