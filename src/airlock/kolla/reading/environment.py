"""Variables: which may be set, and how a Dockerfile (not a shell) expands words of ENV, ARG, COPY, WORKDIR."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from airlock.kolla.reading.model import RefusalError
from airlock.kolla.reading.rules import Rules

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHELL_LOCAL = re.compile(r"[a-z_][a-z0-9_]*")


def check_variable(name: str, value: str | None, rules: Rules) -> Literal["home", "network-config"]:
    """Whether a variable that programs see may have this value (None: unknown).

    Raises:
        RefusalError: no rule names the variable, or its rule limits the value.
    """
    if name == "PATH":
        check_path(value, rules)
        return "home"
    for rule in rules.environment:
        if name in rule.names:
            if not rule.values or (value is not None and re.fullmatch(rule.values, value)):
                return rule.kind
            raise RefusalError(f"the variable {name} may not be set to {value if value is not None else 'this'!r}")
    raise RefusalError(
        f"no rule knows the variable {name}",
        "Leave it out, or add it to [[environment]] of the rules if it is harmless.",
    )


def check_local(name: str, value: str | None, exported: bool, rules: Rules) -> None:
    """Whether a shell may assign this variable: its own lower-case ones freely, others by rule."""
    if exported or not _SHELL_LOCAL.fullmatch(name):
        check_variable(name, value, rules)


def check_path(value: str | None, rules: Rules) -> tuple[str, ...]:
    """The entries of a PATH, if each is one that is known."""
    if not value:
        raise RefusalError("the value of PATH cannot be told")
    entries = tuple(value.split(":"))
    for entry in entries:
        if entry not in rules.path_entries:
            raise RefusalError(f"PATH would hold {entry!r}, which no rule knows")
    return entries


def expand(text: str, env: Mapping[str, str | None], rules: Rules) -> str | None:
    """A word of an instruction with quotes removed and ``$NAME``, ``${NAME:-x}``, ``${NAME:+x}`` replaced.

    As BuildKit's shell/lex.go. None where the value depends on something that cannot be told.
    """
    return _Expansion(text, env, rules).whole()


class _Expansion:
    def __init__(self, text: str, env: Mapping[str, str | None], rules: Rules) -> None:
        self.text = text
        self.env = env
        self.rules = rules
        self.position = 0
        self.known = True

    def whole(self) -> str | None:
        value = self._until("")
        return value if self.known else None

    def _until(self, end: str) -> str:
        out = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            if end and character == end:
                return out
            self.position += 1
            if character == "'":
                closing = self.text.find("'", self.position)
                if closing < 0:
                    self.known = False
                    return out
                out += self.text[self.position : closing]
                self.position = closing + 1
            elif character == '"':
                out += self._double()
            elif character == "\\":
                if self.position < len(self.text):
                    out += self.text[self.position]
                    self.position += 1
            elif character == "$":
                out += self._dollar()
            else:
                out += character
        if end:
            self.known = False
        return out

    def _double(self) -> str:
        out = ""
        while self.position < len(self.text):
            character = self.text[self.position]
            self.position += 1
            if character == '"':
                return out
            if character == "\\" and self.text[self.position : self.position + 1] in ('"', "$", "\\"):
                out += self.text[self.position]
                self.position += 1
            elif character == "$":
                out += self._dollar()
            else:
                out += character
        self.known = False
        return out

    def _dollar(self) -> str:
        braces = self.text.startswith("{", self.position)
        match = _NAME.match(self.text, self.position + braces)
        if not match:
            self.known = self.known and not braces
            return "$"
        name = match.group()
        self.position = match.end()
        if not braces:
            return self._value(name)
        if self.text.startswith("}", self.position):
            self.position += 1
            return self._value(name)
        operator = self.text[self.position : self.position + 2]
        self.position += 2
        word = self._until("}")
        self.position += 1
        if operator == ":-":
            return self._value(name) or word
        if operator == ":+":
            return word if self._value(name) else ""
        self.known = False
        return ""

    def _value(self, name: str) -> str:
        if name in self.env:
            value = self.env[name]
            self.known = self.known and value is not None
            return value or ""
        self.known = self.known and name in self.rules.unset
        return ""
