"""Expansion of shell words: quotes, escapes, parameters, command substitutions, field splitting, patterns.

POSIX 2.6, restricted: what bash reads otherwise than dash (``{a,b}``, ``$'…'``) and what is rare (arithmetic,
backquotes, ``${x:=…}``) is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from airlock.kolla.reading.model import RefusalError
from airlock.kolla.reading.state import Shell
from airlock.kolla.reading.words import Part, PartKind, Word, literal, merge, unknown

Node = dict[str, Any]
Substitute = Callable[[Sequence[Node], Shell], Word]

_POSITIONS = {"Type", "Pos", "End", "ValuePos", "ValueEnd", "Left", "Right", "Dollar", "Rbrace", "Short"}
_SPACE = " \t\n"


def keys(node: Node, *allowed: str) -> None:
    """Refuse a node with a field that this program does not know."""
    strange = node.keys() - _POSITIONS - set(allowed)
    if strange:
        raise RefusalError(f"a {node.get('Type', 'part')} with {', '.join(sorted(strange))}", "Write it more simply.")


class Expander:
    """Expands words; ``substitute`` walks the commands of a ``$(…)`` and says what they print."""

    def __init__(self, substitute: Substitute, unset: Sequence[str]) -> None:
        self._substitute = substitute
        self._unset = frozenset(unset)

    def words(self, nodes: Sequence[Node], shell: Shell) -> list[Word]:
        """The words that the shell makes of ``nodes``."""
        found: list[Word] = []
        for node in nodes:
            found += self._fields(node, shell)
        return found

    def value(self, node: Node | None, shell: Shell) -> Word:
        """The one value of the right side of an assignment, a redirect's target, a ``case`` word."""
        if node is None:
            return literal("")
        parts = [part for part, _ in self._parts(node, shell, quoted=False)]
        return Word(merge(parts)).quoted()

    def _fields(self, node: Node, shell: Shell) -> list[Word]:
        fields: list[list[Part]] = []
        current: list[Part] | None = None
        for part, quoted in self._parts(node, shell, quoted=False):
            if quoted or part.kind is not PartKind.LITERAL:
                current = [*(current or []), part]
                continue
            # An unquoted value of a variable: split at white space, its patterns come alive.
            text = part.text
            while text:
                stripped = text.lstrip(_SPACE)
                if stripped != text and current is not None:
                    fields.append(current)
                    current = None
                length = next((i for i, c in enumerate(stripped) if c in _SPACE), len(stripped))
                if length:
                    current = [*(current or []), *_patterns(stripped[:length])]
                text = stripped[length:]
        if current is not None:
            fields.append(current)
        return [Word(merge(field)) for field in fields]

    def _parts(self, node: Node, shell: Shell, *, quoted: bool) -> list[tuple[Part, bool]]:
        """Parts with whether they are safe from splitting. Of a whole word when ``node`` has ``Parts``."""
        keys(node, "Parts")
        found: list[tuple[Part, bool]] = []
        nodes = node.get("Parts", [])
        for index, part in enumerate(nodes):
            found += self._part(part, shell, quoted=quoted, first=index == 0, later=index + 1 < len(nodes))
        return found

    def _part(self, node: Node, shell: Shell, *, quoted: bool, first: bool, later: bool) -> list[tuple[Part, bool]]:
        kind = node["Type"]
        if kind == "Lit":
            keys(node, "Value")
            raw = node.get("Value", "")
            parts = _double(raw) if quoted else _plain(raw, first=first, later=later)
            return [(part, True) for part in parts]
        if kind == "SglQuoted":
            keys(node, "Value")
            if node.get("Dollar") is True:
                raise RefusalError("a $'…' string", "Write it with plain quotes.")
            return [(Part(PartKind.LITERAL, node.get("Value", "")), True)]
        if kind == "DblQuoted":
            keys(node, "Parts")
            if node.get("Dollar") is True:
                raise RefusalError('a $"…" string', "Write it with plain quotes.")
            inner = self._parts({"Parts": node.get("Parts", [])}, shell, quoted=True)
            return inner or [(Part(PartKind.LITERAL, ""), True)]
        if kind == "CmdSubst":
            keys(node, "Stmts")
            return self._used(self._substitute(node.get("Stmts", []), shell), quoted)
        if kind == "ParamExp":
            return self._used(self._parameter(node, shell, quoted), quoted)
        raise RefusalError(f"a {kind} in a word", "Write it more simply.")

    @staticmethod
    def _used(value: Word, quoted: bool) -> list[tuple[Part, bool]]:
        if quoted:
            return [(part, True) for part in value.stored().parts] or [(Part(PartKind.LITERAL, ""), True)]
        return [
            (msgspec.structs.replace(part, splits=not part.atomic), False)
            if part.kind is PartKind.UNKNOWN
            else (part, False)
            for part in value.stored().parts
        ]

    def _parameter(self, node: Node, shell: Shell, quoted: bool) -> Word:
        keys(node, "Param", "Exp", "Length")
        keys(node["Param"], "Value")
        name = node["Param"]["Value"]
        if node.get("Length"):
            return unknown(f"${{#{name}}}", atomic=True)
        current = self._lookup(name, shell)
        expansion = node.get("Exp")
        if expansion is None:
            return current if current is not None else literal("")
        keys(expansion, "Op", "Word")
        operator = expansion.get("Op", "")
        inner = expansion.get("Word")
        alternative = Word(merge(p for p, _ in self._parts(inner, shell, quoted=quoted))) if inner else literal("")
        if alternative.globs and not quoted and operator not in ("#", "##", "%", "%%"):
            raise RefusalError(f"a pattern within ${{{name}…}}", "Quote it.")
        if (
            not quoted
            and any(c in _SPACE for p in alternative.parts for c in p.text)
            and operator in (":-", "-", ":+", "+")
        ):
            raise RefusalError(f"white space within ${{{name}…}}", "Put the whole expansion between double quotes.")
        value = current if current is not None else literal("")
        source = f"${{{name}{operator}…}}"
        if operator in (":-", ":+", ":?"):
            if value.known is None and not value.prefix:
                return unknown(source)
            empty = not value.parts
        elif operator in ("-", "+", "?"):
            if current is not None and current.known is None:
                return unknown(source)
            empty = current is None
        elif operator in ("#", "##", "%", "%%"):
            return value if not value.parts else unknown(source)
        else:
            raise RefusalError(f"the expansion ${{{name}{operator}…}}", "Write it more simply.")
        if operator.endswith("+"):
            return literal("") if empty else alternative
        return alternative if empty else value

    def _lookup(self, name: str, shell: Shell) -> Word | None:
        """The value; None when it is surely not set; unknown when only a run would tell."""
        if name in shell.variables:
            return shell.variables[name]
        if name in self._unset:
            return None
        return unknown(f"${name}", atomic=name in ("?", "#", "$", "!"))


def _plain(raw: str, *, first: bool, later: bool) -> list[Part]:
    """Unquoted source text: escapes removed, patterns marked."""
    parts: list[Part] = []
    position = 0
    if "{" in raw and "}" in raw and ("," in raw or ".." in raw):
        raise RefusalError(f"{raw} is several words to bash and one to dash", "Write the words out.")
    while position < len(raw):
        character = raw[position]
        position += 1
        if character == "\\":
            parts.append(Part(PartKind.LITERAL, raw[position : position + 1].replace("\n", "")))
            position += 1
        elif character == "$":
            raise RefusalError("an unquoted $ that stands alone", "Quote it.")
        elif character == "~" and ((first and position == 1) or raw[position - 2 : position - 1] in (":", "=")):
            parts.append(Part(PartKind.UNKNOWN, "~"))
        elif character in "*?" or (character == "[" and (later or "]" in raw[position:])):
            parts.append(Part(PartKind.GLOB, character))
        else:
            parts.append(Part(PartKind.LITERAL, character))
    return parts


def _double(raw: str) -> list[Part]:
    """Source text between double quotes, where a backslash escapes ``$``, a backquote, ``"``, itself, a newline."""
    out = ""
    position = 0
    while position < len(raw):
        character = raw[position]
        if character == "\\" and raw[position + 1 : position + 2] in ("$", "`", '"', "\\", "\n"):
            out += raw[position + 1].replace("\n", "")
            position += 2
            continue
        out += character
        position += 1
    return [Part(PartKind.LITERAL, out)]


def _patterns(text: str) -> list[Part]:
    return [
        Part(PartKind.GLOB if c in "*?" or (c == "[" and "]" in text[i:]) else PartKind.LITERAL, c)
        for i, c in enumerate(text)
    ]
