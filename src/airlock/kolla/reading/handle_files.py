"""Commands that put files somewhere: what they write decides what they are."""

from __future__ import annotations

import posixpath
import re
import sys

from airlock.kolla.reading.call import Call, absolute
from airlock.kolla.reading.filesystem import is_below_pattern, may_overlap, normalise
from airlock.kolla.reading.model import Edit, EditAt, FileRef, GoneRef, Kind, Link, RefusalError, SourceRef, TextRef
from airlock.kolla.reading.rules import Operation
from airlock.kolla.reading.sed import check_script, is_pin_edit
from airlock.kolla.reading.verdict import Verdict
from airlock.kolla.reading.words import PartKind, Word, literal

_SOURCE_LINK = re.compile(r"(/[^/*]+)/\*")

# Where a link of that name would be made inside the folder instead.
_SYSTEM_FOLDERS = frozenset(
    "boot data dev etc home media mnt opt plugins proc root run srv sys tmp usr var".split()  # noqa: SIM905
)

# What `python3 -m …` in the root folder would load from there instead of the interpreter's own.
PYTHON_MODULES = frozenset(sys.stdlib_module_names) | {
    "pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack", "sitecustomize", "usercustomize", "ensurepip",
}  # fmt: skip


def _into(call: Call, target: str, name: str, operation: Operation, ref: FileRef | None = None) -> Kind:
    """A write to ``target``, or to ``name`` within it where that may be a folder."""
    if target.endswith("/") or any(call.fs.known_folder(path) for path in absolute(target, call.shell)):
        return call.write_path(f"{target.rstrip('/')}/{name}", operation, ref)
    call.write_path(f"{target}/{name}", operation, ref)
    return call.write_path(target, operation, ref)


def _base(word: str) -> str:
    """The name a copied thing gets; of ``x/.`` and ``x/*`` it is anything."""
    name = posixpath.basename(word.rstrip("/"))
    return "*" if name in ("", ".", "..") else name


def _kind(call: Call, kinds: list[Kind]) -> Verdict:
    return Verdict("network-config") if "network-config" in kinds else call.verdict()


def copy(call: Call) -> Verdict:
    """``cp``, ``mv``, ``install``: the last operand is where to."""
    if call.args.has("d", "directory"):
        return _kind(call, [call.write(word, "write") for word in call.operands])
    if len(call.operands) < 2:
        raise RefusalError("it lacks a source or a target")
    *sources, last = call.operands
    _refuse_links(call, sources)
    target = call.known(last, "the target")
    operation: Operation = "copy"
    many = len(sources) > 1 or any(word.globs for word in sources)
    kinds: list[Kind] = []
    for word in sources:
        text = word.pattern
        name = _base(text if text is not None else "*")
        ref = _origin(call, text)
        inside = f"{target.rstrip('/')}/" if many else target
        kinds.append(_into(call, inside, name, operation, ref))
        if call.name == "mv":
            kinds.append(_remove(call, call.pattern(word, "the path")))
    return _kind(call, kinds)


def _refuse_links(call: Call, sources: list[Word]) -> None:
    """A copied link leads somewhere else than it did; where, is not followed."""
    for word in sources:
        text = word.pattern
        if ".." in word.text.split("/"):
            raise RefusalError(f"{word.text}: a source with ..", "Write the path without it.")
        if text is None:
            text = posixpath.dirname(word.prefix) + "/*"
        for path in absolute(text, call.shell):
            for one in call.fs.follow(path):
                if any(may_overlap(one, link.path) and not is_below_pattern(one, link.path) for link in call.fs.links):
                    raise RefusalError(f"{word.text} may hold a link made before", "Copy what it leads to.")


def _origin(call: Call, text: str | None) -> FileRef | None:
    if text is None or any(c in text for c in "*?["):
        return None
    refs = call.origin(text)[1]
    return refs[0] if len(refs) == 1 else None


def link(call: Call) -> Verdict:
    """``ln``: symbolic links are remembered; a hard link is a copy."""
    if len(call.operands) != 2:
        raise RefusalError("a link without both ends, or with more than two")
    target = _link_target(call)
    name = call.known(call.operands[1], "the link")
    if not call.args.has("s", "symbolic"):
        _refuse_links(call, call.operands[:1])
        return _kind(call, [_into(call, name, _base(target), "copy")])
    where = absolute(name, call.shell)
    if len(where) == 1 and _is_source_link(call, where[0], target):
        call.writes.append(where[0])
        call.fs.add_link(where[0], target)
        return call.verdict()
    if len(where) == 1 and _is_known_link(call, where[0], target):
        call.writes.append(where[0])
        call.fs.links.append(Link(where[0], normalise(posixpath.join(posixpath.dirname(where[0]), target))))
        return call.verdict()
    verdict = _kind(call, [_into(call, name, _base(target), "link")])
    for path in where:
        call.fs.add_link(path, target)
        call.fs.add_link(f"{path}/{_base(target)}", target)
    return verdict


def _link_target(call: Call) -> str:
    """The target; a part that is some name without a slash stands as ``*``."""
    parts = call.operands[0].parts
    if all(part.kind is not PartKind.UNKNOWN or part.segment for part in parts):
        return "".join("*" if part.kind is PartKind.UNKNOWN else part.text for part in parts)
    return call.pattern(call.operands[0], "the target")


def _is_known_link(call: Call, path: str, target: str) -> bool:
    """A link that a rule names with its target."""
    absolute_target = normalise(posixpath.join(posixpath.dirname(path), target))
    return any(path == rule.path and re.fullmatch(rule.target, absolute_target) for rule in call.rules.links)


def _is_source_link(call: Call, path: str, target: str) -> bool:
    """``ln -s keystone-base-source/* keystone``: the one folder of an archive under a short name at the root."""
    match = _SOURCE_LINK.fullmatch(normalise(posixpath.join("/", target)))
    name = path.lstrip("/")
    if not match or "/" in name or name in _SYSTEM_FOLDERS or name.partition(".")[0] in PYTHON_MODULES:
        return False
    return isinstance(call.fs.at(match.group(1)), SourceRef)


def touch(call: Call) -> Verdict:
    """``touch``: an empty file where there is none."""
    return _kind(call, [call.write(word, "touch", TextRef(call.image, "")) for word in call.operands])


def tee(call: Call) -> Verdict:
    """``tee``: writes what it is piped."""
    return _kind(call, [call.write(word, "write") for word in call.operands])


def _remove(call: Call, text: str) -> Kind:
    kind: Kind = "home"
    for path in absolute(text, call.shell):
        for venv in call.fs.venvs:
            if any(may_overlap(one, f"{venv.path}/bin/python3") for one in call.fs.follow(path)):
                raise RefusalError(f"it takes the virtual environment {venv.path} apart")
        for name in [name for name, shim in call.fs.shims.items() if may_overlap(path, shim)]:
            del call.fs.shims[name]
        if _configures(call, path):
            kind = "network-config"
        written = any(may_overlap(path, one) for one in call.fs.written)
        if kind == "network-config" or written:
            gone = TextRef(call.image, None) if call.condition else GoneRef(call.image)
            call.fs.note(path, gone)
            call.writes.append(path)
    return kind


def _configures(call: Call, path: str) -> bool:
    try:
        return call.fs.place(call.fs.follow(path), "remove").kind == "network-config"
    except RefusalError:
        return False


def remove(call: Call) -> Verdict:
    """``rm``: harmless wherever it is, but what configured the network may be gone, and Airlock's shims."""
    kinds: list[Kind] = []
    for word in call.operands:
        if word.pattern is None or not word.parts:
            call.fs.shims.clear()
        else:
            kinds.append(_remove(call, word.pattern))
    return _kind(call, kinds)


def sed(call: Call) -> Verdict:
    """``sed``: scripts of harmless commands; in place, the files it edits are written."""
    # Unquoted, s/#*X/Y/ is a pattern too; no file matches it, since no rule lets anything be written to /s/….
    scripts = [call.pattern(word, "the sed script") for word in call.args.values("e", "expression")]
    operands = call.operands
    if not scripts:
        if not operands:
            raise RefusalError("sed without a script")
        scripts, operands = [call.pattern(operands[0], "the sed script")], operands[1:]
    for script in scripts:
        check_script(script)
    if not call.args.has("i", "in-place"):
        return call.verdict()
    kinds: list[Kind] = []
    extended = call.args.has("E", "r", "regexp-extended")
    for word in operands:
        text = call.known(word, "the file")
        path, refs = call.origin(text)
        rule = call.fs.place(call.fs.follow(path), "edit")
        call.writes.append(path)
        if rule.content != "any":
            _edit_known(call, path, bool(refs), scripts, extended)
        kinds.append(rule.kind)
    return _kind(call, kinds)


def _edit_known(call: Call, path: str, found: bool, scripts: list[str], extended: bool) -> None:
    """An edit of a file that a resolver reads: kept, so that it can be done again."""
    if not found or call.condition or not all(is_pin_edit(script) for script in scripts):
        raise RefusalError(
            f"an edit of {path} that cannot be done again by the resolver",
            "Only /^NAME===/d and s/^NAME===V/NAME==W/ are known, outside any condition.",
        )
    place = call.fs.canonical(path)
    for script in scripts:
        call.fs.edits.append(EditAt(place, Edit(script, extended)))


def tar(call: Call) -> Verdict:
    """``tar -x``: named members into a folder, or everything into one that may hold anything."""
    if not call.args.has("x", "extract"):
        raise RefusalError("only extraction is known", "Use tar -x.")
    archives = call.args.values("f", "file")
    if len(archives) != 1 or ":" in call.known(archives[0], "the archive"):
        raise RefusalError("the archive cannot be told")
    folders = call.args.values("C", "directory") or [literal(".")]
    if len(folders) != 1:
        raise RefusalError("more than one folder")
    folder = call.known(folders[0], "the folder")
    members = [call.pattern(word, "the member").removeprefix("./") for word in call.operands] or ["*"]
    return _kind(call, [call.write_path(f"{folder.rstrip('/')}/{name}", "extract") for name in members])


_FIND_TESTS = {"-name": 1, "-iname": 1, "-path": 1, "-type": 1, "-maxdepth": 1, "-mindepth": 1, "-newer": 1,
               "-print": 0, "-print0": 0, "!": 0, "-not": 0, "-o": 0, "-or": 0, "-a": 0, "-and": 0, "(": 0, ")": 0,
               "-empty": 0, "-delete": 0}  # fmt: skip


def find(call: Call) -> Verdict:
    """``find``: starting points and tests that only look (or delete)."""
    words = list(call.words)
    tests = False
    while words:
        word = words.pop(0)
        text = word.pattern
        if text is None or word.splits:
            raise RefusalError(f"{word.text} may turn out to be an action of find", "Quote it, or write it out.")
        if text in _FIND_TESTS and not word.globs:
            tests = True
            if len(words) < _FIND_TESTS[text]:
                raise RefusalError(f"find {text} lacks its value")
            for value in words[: _FIND_TESTS[text]]:
                if value.splits or (value.globs and not value.prefix):
                    raise RefusalError(f"{value.text} may turn out to be an action of find", "Quote it.")
            del words[: _FIND_TESTS[text]]
        elif tests or text.startswith("-") or not word.prefix:
            raise RefusalError(f"no rule knows find's {text}")
    return call.verdict()
