"""The shell's own commands and interpreters."""

from __future__ import annotations

import posixpath
import re
from itertools import pairwise

from airlock.kolla.reading.call import Call
from airlock.kolla.reading.environment import check_local, check_path, check_variable
from airlock.kolla.reading.filesystem import normalise
from airlock.kolla.reading.handle_files import PYTHON_MODULES
from airlock.kolla.reading.model import RefusalError, VenvCreate
from airlock.kolla.reading.options import parse_arguments
from airlock.kolla.reading.rules import CommandRule, ScriptRule
from airlock.kolla.reading.verdict import Verdict
from airlock.kolla.reading.walk import Walk
from airlock.kolla.reading.words import Part, PartKind, Word, literal, unknown

_TESTS = frozenset({
    "-e", "-f", "-d", "-n", "-z", "-s", "-r", "-w", "-x", "-h", "-L", "-p", "-S", "-b", "-c", "-u", "-g", "-k", "-t",
    "-O", "-G", "-N", "-eq", "-ne", "-lt", "-gt", "-le", "-ge", "-nt", "-ot", "-ef", "-a", "-o", "!",
})  # fmt: skip
_BINARY = frozenset({"=", "==", "!=", "<", ">", "-a", "-o", "-nt", "-ot", "-ef",
                     "-eq", "-ne", "-lt", "-gt", "-le", "-ge"})  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VENV_OPTIONS = CommandRule(names=(), long=("system-site-packages", "clear", "without-pip"))


def change_folder(call: Call) -> Verdict:
    """``cd``: where relative paths lead from now on."""
    if len(call.operands) > 1:
        raise RefusalError("cd to more than one folder")
    text = call.operands[0].known if call.operands else None
    if text is None or text in ("", "-") or text.startswith("-"):
        call.shell.cwd = None
    else:
        call.shell.cwd = frozenset(call.absolute(text)) if call.shell.cwd or text.startswith("/") else None
    return call.verdict()


def test(call: Call) -> Verdict:
    """``[`` and ``test``; bash's ``-v`` and ``-R`` evaluate what they are given and are refused."""
    words = list(call.words)
    if call.name == "[" and (not words or words.pop().known != "]"):
        raise RefusalError("a [ without its ]")
    for word in words:
        if word.splits:
            raise RefusalError(f"{word.text} may turn out to be any number of words", "Quote it.")
        text = word.known
        if text is not None and re.fullmatch(r"-[A-Za-z]+", text) and text not in _TESTS:
            raise RefusalError(f"no rule knows the test {text}")
    for word, following in pairwise(words):
        if word.known is None and following.known not in _BINARY:
            raise RefusalError(f"{word.text} may turn out to be a test of its own", "Compare it: [ x$VALUE = x ].")
    return call.verdict()


def echo(call: Call) -> Verdict:
    """``echo``: its text, where dash and bash agree on it."""
    texts = [word.known for word in call.words]
    if any(text is None or "\\" in text or text.startswith("-") for text in texts):
        return call.verdict()
    return call.verdict(output=literal(" ".join(text for text in texts if text is not None) + "\n"))


def export(call: Call) -> Verdict:
    """``export NAME=VALUE``: variables that programs see, by rule."""
    configures = False
    for word in call.words:
        text = call.known(word, "the assignment")
        name, equals, value = text.partition("=")
        if not _NAME.fullmatch(name):
            raise RefusalError(f"export of {text}")
        current = call.shell.variables.get(name)
        kind = check_variable(name, value if equals else current.known if current else None, call.rules)
        configures = configures or kind == "network-config"
        if equals:
            call.shell.variables[name] = literal(value)
            if name == "PATH":
                call.fs.set_path(check_path(value, call.rules))
        call.shell.exported.add(name)
    return Verdict("network-config") if configures else call.verdict()


def source(call: Call) -> Verdict:
    """``. /etc/os-release``: the one file that is known; its variables are known by name."""
    for path in call.fs.follow("/etc/os-release"):
        if path in call.fs.written:
            raise RefusalError("/etc/os-release was written before")
    for name in call.rules.os_release:
        check_local(name.lower(), None, False, call.rules)
        call.shell.variables[name] = unknown(f"${name}")
    return call.verdict()


def run_shell(call: Call) -> Verdict:
    """``sh -c SCRIPT``: the script is read like the rest; anything else an interpreter runs cannot be."""
    if not call.args.has("c") or not call.operands:
        raise RefusalError("a shell without a literal script", "Write the commands into the RUN itself.")
    script = call.known(call.operands[0], "the script")
    start = _literal_start(call, script)

    def locate(offset: int) -> int:
        return call.start if start is None else call.walk.locate(start + offset)

    inner = call.shell.copy()
    inner.variables = {name: value for name, value in inner.variables.items() if name in inner.exported}
    Walk(script, call.walk.visitor, locate, call.walk).run(inner)
    return call.verdict()


def _literal_start(call: Call, script: str) -> int | None:
    """Where in the outer script the inner one begins, if it stands there letter for letter."""
    for node in call.nodes:
        parts = node.get("Parts", [])
        if len(parts) == 1 and parts[0]["Type"] == "SglQuoted" and parts[0].get("Value") == script:
            return int(parts[0]["Pos"]["Offset"]) + 1
    return None


def require_safe_folder(call: Call) -> None:
    """Refuse ``python -m`` and ``-c`` where a module of the current folder could come before the interpreter's own."""
    if call.shell.cwd != frozenset({"/"}):
        raise RefusalError("python with -m or -c loads modules from the folder it is in", "Run it in / (cd /).")
    for path in [*call.fs.written, *(link.path for link in call.fs.links)]:
        name = path.strip("/").partition("/")[0]
        if name.partition(".")[0] in PYTHON_MODULES or any(c in name for c in "*?["):
            raise RefusalError(f"{path} may be loaded by python as a module")


def interpreter(call: Call) -> str:
    """Path of the Python that a call of ``python3``, ``pip`` … runs."""
    if call.venv is not None:
        return f"{call.venv.path}/bin/python3"
    version = call.name.removeprefix("python").removeprefix("pip")
    return f"/usr/bin/python{version if version[:1] == '3' else '3'}"


def python(call: Call) -> Verdict:
    """``python3 -m venv`` and known ``-c`` scripts (``-m pip`` is judged as ``pip``)."""
    require_safe_folder(call)
    words = list(call.words)
    if len(words) == 2 and words[0].known == "-c":
        text = call.known(words[1], "the script")
        for script in call.rules.scripts:
            if script.text == text:
                return call.verdict(output=_output(script))
        raise RefusalError("no rule knows this python script", "Write it in posix shell, or add it to [[script]].")
    if len(words) >= 3 and words[0].known == "-m" and words[1].known == "venv":
        return _venv(call, words[2:])
    raise RefusalError("no rule knows this use of python")


def _output(script: ScriptRule) -> Word | None:
    if script.segment:
        return Word((Part(PartKind.UNKNOWN, "$(python …)", atomic=True, segment=True),))
    return literal(script.output) if script.output else None


def _venv(call: Call, words: list[Word]) -> Verdict:
    args = parse_arguments(words, _VENV_OPTIONS)
    if len(args.operands) != 1 or call.condition:
        raise RefusalError("not one virtual environment, or made under a condition")
    path = normalise(posixpath.join("/", call.known(args.operands[0], "the path")))
    venv = VenvCreate(path, interpreter(call), args.has("system-site-packages"))
    call.fs.add_venv(venv)
    return call.verdict(detail=venv)


def exact(call: Call) -> Verdict:
    """A command that its rule describes wholly."""
    return call.verdict()
