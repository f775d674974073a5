"""The reading of one image: its instructions in order, each RUN walked, and the state for its children."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from airlock.kolla.dockerfile import DockerfileError, Instruction, parse
from airlock.kolla.reading.copying import ContextFiles, Copying
from airlock.kolla.reading.environment import check_path, check_variable, expand
from airlock.kolla.reading.filesystem import FileSystem, normalise
from airlock.kolla.reading.judge import Judge
from airlock.kolla.reading.model import (
    BaseImage,
    Command,
    ImageReading,
    ImageState,
    Kind,
    RefusalError,
)
from airlock.kolla.reading.rules import Rules
from airlock.kolla.reading.state import Shell
from airlock.kolla.reading.verdict import worst
from airlock.kolla.reading.walk import Walk
from airlock.kolla.reading.words import literal, unknown

# Metadata of the image, or what a container does when it is started; nothing of it happens in a build.
_QUIET = frozenset({"LABEL", "MAINTAINER", "EXPOSE", "STOPSIGNAL", "CMD", "ENTRYPOINT", "HEALTHCHECK", "VOLUME"})
# An array of strings begins so; `[ -d /x ] && …` does not.
_MAYBE_JSON = re.compile(r"\[\s*[\"\]]")


def run_scripts(dockerfile_text: str) -> tuple[str, ...]:
    """The RUN scripts of a Dockerfile, for ``shell.prepare``; empty when it does not parse."""
    try:
        return tuple(one.text for one in parse(dockerfile_text) if one.name == "RUN" and not one.json)
    except DockerfileError:
        return ()


def read_image(
    dockerfile_text: str,
    *,
    image: str,
    context_files: ContextFiles,
    inherited: ImageState,
    rules: Rules,
    shims: frozenset[str] = frozenset(),
    build_args: Mapping[str, str] | None = None,
) -> ImageReading:
    """Read a Dockerfile: every command classified, with what a resolver needs.

    Args:
        dockerfile_text: as rendered.
        image: Kolla's name of the image, for references to its build context.
        context_files: bytes of a file of the build context by its path in it; None if there is none.
        inherited: the parent's ``ImageReading.state``; ``ImageState()`` for a root image.
        rules: ``load_rules()``.
        shims: sha256 of Airlock's own stand-ins for commands, which a COPY may put into ``/usr/local/bin``.
        build_args: values that kolla-build passes for ARG.

    A text that is no Dockerfile gives one unclassified command.
    """
    reader = _Reader(image, context_files, inherited, rules, shims, build_args or {})
    try:
        instructions = parse(dockerfile_text)
    except DockerfileError as error:
        reader.add(Command(error.line, ("Dockerfile",), "unclassified", "", error.reason, "Correct the Dockerfile."))
        return reader.reading()
    for instruction in instructions:
        reader.instruction(instruction)
    return reader.reading()


class _Reader:
    def __init__(
        self, image: str, context_files: ContextFiles, inherited: ImageState, rules: Rules, shims: frozenset[str],
        build_args: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.image = image
        self.rules = rules
        self.build_args = build_args
        self.fs = FileSystem(image, inherited, rules)
        self.copying = Copying(image, self.fs, rules, context_files, shims)
        self.env: dict[str, str | None] = dict(inherited.env)
        self.args: dict[str, str | None] = {}
        self.global_args: dict[str, str | None] = {}
        self.workdir = inherited.workdir
        self.user = inherited.user
        self.commands: list[Command] = []
        self.froms = 0
        self.fs.set_path(tuple((inherited.env.get("PATH") or "").split(":")))

    def add(self, command: Command) -> None:
        self.commands.append(command)

    def reading(self) -> ImageReading:
        state = self.fs.state(self.env, self.workdir, self.user)
        return ImageReading(self.image, tuple(self.commands), state)

    def instruction(self, one: Instruction) -> None:
        if one.name == "RUN":
            self._run(one)
            return
        argv = (one.name, *one.flags, *one.words)
        try:
            if one.heredoc:
                raise RefusalError("a here-document", "Write the file into the build context, or echo its lines.")
            if one.flags and one.name not in ("COPY", "ADD", "HEALTHCHECK"):
                raise RefusalError(f"no rule knows the flag {one.flags[0]} of {one.name}")
            if one.name in _QUIET:
                self.add(Command(one.line, argv, "home"))
            elif one.name in ("COPY", "ADD"):
                self.add(self.copying.read(one, self.workdir, self.args | self.env))
            else:
                self._plain(one, argv)
        except RefusalError as refusal:
            self.add(Command(one.line, argv, "unclassified", "", refusal.reason, refusal.remedy))

    def _plain(self, one: Instruction, argv: tuple[str, ...]) -> None:
        if one.name == "FROM":
            self._from(one, argv)
        elif one.name == "ENV":
            self._env(one)
        elif one.name == "ARG":
            self._arg(one)
        elif one.name == "WORKDIR":
            path = self._value(one.text)
            self.workdir = normalise(posixpath.join(self.workdir, path))
            self.add(Command(one.line, argv, "home"))
        elif one.name == "USER":
            self.user = self._value(one.text)
            self.add(Command(one.line, argv, "home"))
        else:
            raise RefusalError(f"no rule knows the instruction {one.name}", "Leave it out.")

    def _value(self, text: str) -> str:
        value = expand(text, self.args | self.env, self.rules)
        if not value:
            raise RefusalError(f"the value of {text!r} cannot be told", "Write it out.")
        return value

    def _from(self, one: Instruction, argv: tuple[str, ...]) -> None:
        self.froms += 1
        if self.froms > 1 or len(one.words) != 1:
            raise RefusalError("a build of more than one stage", "Use one FROM.")
        self.add(Command(one.line, argv, "demand", "base-image", detail=BaseImage(self._value(one.words[0]))))
        # Arguments from before FROM are not set after it, unless they are declared again.
        self.global_args, self.args = self.args, {}

    def _env(self, one: Instruction) -> None:
        kind: Kind = "home"
        new: dict[str, str | None] = {}
        if len(one.words) % 2:
            raise RefusalError("a variable without a value")
        for name, raw in zip(one.words[::2], one.words[1::2], strict=True):
            value = expand(raw, self.args | self.env, self.rules)
            kind = worst(kind, check_variable(name, value, self.rules))
            if name == "PATH":
                self.fs.set_path(check_path(value, self.rules))
            new[name] = value
        self.env |= new
        self.add(Command(one.line, ("ENV", *(f"{k}={'' if v is None else v}" for k, v in new.items())), kind))

    def _arg(self, one: Instruction) -> None:
        kind: Kind = "home"
        for word in one.words:
            name, equals, raw = word.partition("=")
            value = expand(raw, self.args | self.env, self.rules) if equals else self.global_args.get(name)
            if name in self.build_args:
                value = self.build_args[name]
            kind = worst(kind, check_variable(name, value, self.rules))
            if name == "PATH":
                raise RefusalError("PATH as a build argument", "Use ENV.")
            if name not in self.env:
                self.args[name] = value
        self.add(Command(one.line, ("ARG", *one.words), kind))

    # RUN

    def _run(self, one: Instruction) -> None:
        judge = Judge(self.image, self.fs, self.rules, one.line_of, self.user)
        try:
            if one.heredoc:
                raise RefusalError("a here-document", "Debian 12's engine does not read these; chain commands by &&.")
            if one.json or _MAYBE_JSON.match(one.text):
                raise RefusalError("a RUN that may be a JSON array", "Write it as shell commands.")
            if one.flags:
                raise RefusalError(f"no rule knows the flag {one.flags[0]} of RUN", "Leave it out.")
            environment = self.args | self.env
            variables = {
                name: literal(value) if value is not None else unknown(f"${name}")
                for name, value in environment.items()
            }
            shell = Shell(variables, set(variables), frozenset({self.workdir}))
            Walk(one.text, judge, lambda offset: offset).run(shell)
        except RecursionError:
            judge.refuse("RUN", 0, RefusalError("a script nested too deeply"), "")
        except RefusalError as refusal:
            judge.refuse(" ".join(("RUN", *one.flags, one.text[:200])), 0, refusal, "")
        self.commands += judge.commands


def classify_counts(commands: Iterable[Command]) -> dict[str, int]:
    """How many commands are of each kind."""
    counts = dict.fromkeys(("home", "demand", "network-config", "unclassified"), 0)
    for command in commands:
        counts[command.kind] += 1
    return counts
