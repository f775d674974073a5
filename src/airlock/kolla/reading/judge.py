"""Judging one simple command: its assignments, its redirects, its name, then the rule and handler for it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from airlock.kolla.reading.call import Call, absolute, check_write, writable
from airlock.kolla.reading.environment import check_local, check_path, check_variable
from airlock.kolla.reading.filesystem import FileSystem, normalise
from airlock.kolla.reading.handlers import HANDLERS
from airlock.kolla.reading.model import Command, Kind, RefusalError, TextRef, VenvCreate
from airlock.kolla.reading.options import parse_arguments
from airlock.kolla.reading.rules import Rules
from airlock.kolla.reading.simple import Redirect, Simple
from airlock.kolla.reading.state import Outcome, Shell
from airlock.kolla.reading.verdict import Verdict, worst
from airlock.kolla.reading.walk import Walk
from airlock.kolla.reading.words import Word, literal, unknown

_DEVICES = frozenset({"/dev/null", "/dev/stdout", "/dev/stderr"})
_PYTHON = ("python", "pip")


class Judge:
    """Judges the commands of one image; ``record`` takes each result with the offset of its first byte."""

    def __init__(self, image: str, fs: FileSystem, rules: Rules, line_of: Callable[[int], int], user: str) -> None:
        self.image = image
        self.fs = fs
        self.rules = rules
        self.line_of = line_of
        self.user = user
        self.commands: list[Command] = []

    def refuse(self, source: str, offset: int, refusal: RefusalError, condition: str) -> None:
        """Report something that cannot be read."""
        self.commands.append(
            Command(self.line_of(offset), (source,), "unclassified", "", refusal.reason, refusal.remedy, condition)
        )

    def command(self, call: Simple, shell: Shell, walk: Walk, condition: str) -> tuple[Outcome, Word | None]:
        """Judge ``call``; the states after it and what it prints."""
        ok = shell.copy()
        writes: list[str] = []
        kind: Kind = "home"
        verdict = Verdict("home")
        reason = remedy = ""
        try:
            kind = self._assign(call, ok)
            if call.words:
                verdict = self._judge(call, ok, walk, condition, writes)
            for redirect in call.redirects:
                kind = worst(kind, self._redirect(redirect, shell, verdict, condition, writes))
            reason = verdict.reason
            if call.words:
                # Before a special builtin an assignment stays; before others it is the command's alone.
                for name, value in call.assigns:
                    if shell.variables.get(name) != value:
                        ok.variables[name] = unknown(f"${name}")
        except RefusalError as refusal:
            verdict, reason, remedy = Verdict("unclassified"), refusal.reason, refusal.remedy
            ok = shell.join(ok)
        if not walk.quiet:
            words = [word.text for word in call.words]
            argv = words or [f"{name}={value.text}" for name, value in call.assigns]
            argv = argv or [f"{redirect.operator} {redirect.target.text}" for redirect in call.redirects]
            self.commands.append(
                Command(
                    line=self.line_of(call.offset),
                    argv=tuple(argv),
                    kind=worst(kind, verdict.kind),
                    demand=verdict.demand,
                    reason=reason,
                    remedy=remedy,
                    condition=condition,
                    writes=tuple(dict.fromkeys(writes)),
                    detail=verdict.detail,
                )
            )
        # An assignment alone is made even where its $(…) failed.
        fail = ok if not call.words and not call.redirects else shell.join(ok)
        return Outcome(ok, fail), verdict.output

    def _assign(self, call: Simple, shell: Shell) -> Kind:
        """Assignments alone set variables of the shell; before a command they are its environment."""
        kind: Kind = "home"
        for name, value in call.assigns:
            if call.words:
                kind = worst(kind, check_variable(name, value.known, self.rules))
            else:
                check_local(name, value.known, name in shell.exported, self.rules)
            shell.variables[name] = value
            if name == "PATH":
                self.fs.set_path(check_path(value.known, self.rules))
        return kind

    def _redirect(self, redirect: Redirect, shell: Shell, verdict: Verdict, condition: str, writes: list[str]) -> Kind:
        target = redirect.target.known
        operator = redirect.operator
        if target is None:
            raise RefusalError(f"the target of {operator}, {redirect.target.text}, cannot be told", "Write it out.")
        if operator in (">&", "<&") and (target.isdigit() or target == "-"):
            return "home"
        if operator == "<":
            for path in absolute(target, shell):
                if path.startswith(("/dev/", "/proc/", "/sys/")) and path != "/dev/null":
                    raise RefusalError(f"it reads from {path}")
            return "home"
        if operator not in (">", ">>", ">|"):
            raise RefusalError(f"the redirect {operator} {target}", "Use >, >> or <, and no here-documents.")
        if target in _DEVICES:
            return "home"
        kind: Kind = "home"
        for path in writable(target, shell):
            place = self.fs.canonical(path)
            text = verdict.output.known if verdict.output is not None and not condition else None
            if operator == ">>":
                before = self.fs.at(place)
                known = before.text if isinstance(before, TextRef) and not self.fs.edits_of(place) else None
                text = known + text if known is not None and text is not None else None
            ref = TextRef(self.image, text)
            kind = worst(kind, check_write(self.fs, path, "write", ref).kind)
            writes.append(path)
            self.fs.note(place, ref)
        return kind

    def _judge(self, call: Simple, shell: Shell, walk: Walk, condition: str, writes: list[str]) -> Verdict:
        name, path, venv = self._program(call.words[0], shell)
        words = call.words[1:]
        if not path and self._is_shim(name, shell):
            return Verdict("home", reason=f"Airlock's stand-in for {name}")
        if name.startswith("python") and len(words) >= 2 and words[0].known == "-m" and words[1].known == "pip":
            name, words = "pip", words[2:]
            path = path or "python"
        rules = self.rules.commands_named(name)
        if not rules:
            raise RefusalError(
                f"no rule knows the command {name}",
                "Remove it by an override, or add it to [[command]] of the rules if it cannot reach the network.",
            )
        refusals: list[RefusalError] = []
        for rule in rules:
            try:
                args = parse_arguments(words, rule)
                if tuple(word.known for word in args.operands[: len(rule.subcommand)]) != rule.subcommand:
                    continue
            except RefusalError as refusal:
                refusals.append(refusal)
                continue
            verdict = HANDLERS[rule.handler](
                Call(
                    image=self.image, name=name if name != "pip" else posixpath.basename(call.words[0].known or ""),
                    path=path, venv=venv, words=words, nodes=call.nodes, args=args, rule=rule, rules=self.rules,
                    fs=self.fs, shell=shell, walk=walk, line=self.line_of(call.offset), condition=condition,
                    writes=writes, start=call.offset,
                )
            )  # fmt: skip
            if verdict.kind == "demand" and self.user not in ("root", "0", "root:root", "0:0"):
                raise RefusalError(f"a command that fetches something, run as {self.user}", "Run it before USER.")
            return verdict
        raise refusals[0] if refusals else RefusalError(f"no rule knows this use of {name}")

    def _program(self, word: Word, shell: Shell) -> tuple[str, str, VenvCreate | None]:
        """Base name, path (empty when looked up) and virtual environment of the program that will run."""
        text = word.known
        if not text:
            raise RefusalError(f"the command's name, {word.text}, cannot be told", "Write it out.")
        if "/" in text:
            return self._program_at(text)
        path = shell.variables.get("PATH", literal("")).known
        entries = check_path(path, self.rules)
        venv = None
        for entry in entries:
            place = f"{normalise(entry)}/{text}"
            shim = self.fs.shims.get(text)
            if any(one in self.fs.written for one in self.fs.follow(place)) and place != shim:
                raise RefusalError(f"{place} was written by a build step; what it does cannot be told")
            venv = venv or self._venv_of(entry, text)
        return text, "", venv

    def _is_shim(self, name: str, shell: Shell) -> bool:
        """Whether Airlock's stand-in is what PATH finds before the system's own."""
        path = self.fs.shims.get(name)
        entries = check_path(shell.variables.get("PATH", literal("")).known, self.rules)
        if path is None or posixpath.dirname(path) not in entries:
            return False
        system = [entries.index(entry) for entry in ("/usr/sbin", "/usr/bin", "/sbin", "/bin") if entry in entries]
        return all(entries.index(posixpath.dirname(path)) < place for place in system)

    def _program_at(self, text: str) -> tuple[str, str, VenvCreate | None]:
        if not text.startswith("/") or ".." in text.split("/"):
            raise RefusalError(f"{text}: which program this is cannot be told", "Call it by name or absolute path.")
        path = normalise(text)
        folder, _, name = path.rpartition("/")
        if any(one in self.fs.written for one in self.fs.follow(path)):
            raise RefusalError(f"{path} was written by a build step; what it does cannot be told")
        venv = next((venv for venv in self.fs.venvs if f"{venv.path}/bin" == folder), None)
        system = folder in {normalise(entry) for entry in self.rules.path_entries if not entry.startswith(self._venvs)}
        listed = any(folder in rule.paths for rule in self.rules.commands_named(name))
        if not (venv or system or listed):
            raise RefusalError(f"no rule knows a command at {path}")
        return name, path, venv

    @property
    def _venvs(self) -> tuple[str, ...]:
        return self.rules.venvs or ("/nowhere",)

    def _venv_of(self, entry: str, name: str) -> VenvCreate | None:
        """The virtual environment whose ``bin`` is this PATH entry, if it has the Python or pip of this name."""
        for venv in self.fs.venvs:
            if f"{venv.path}/bin" == entry:
                base = posixpath.basename(venv.interpreter)
                own = {"python", "python3", base, "pip", "pip3", base.replace("python", "pip")}
                if name in own or not name.startswith(_PYTHON):
                    return venv
        return None
