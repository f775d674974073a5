"""What follows an instruction's name in a Dockerfile, split as BuildKit does.

The rules are those of BuildKit's ``frontend/dockerfile/parser`` (``line_parsers.go``, ``split_command.go``) with a
backslash to escape: ``kolla.dockerfile`` refuses the directive that would change it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_SPACE = re.compile(r"[\t\v\f\r ]+")
# A here-document may begin wherever the shell sees these two; refusing more than BuildKit takes for one is harmless.
_HEREDOC = "<<"
_HEREDOCS = ("ADD", "COPY", "RUN", "ONBUILD")


class WordsError(Exception):
    """The words cannot be told without doubt; the text says why."""


def split(name: str, rest: str) -> tuple[tuple[str, ...], str, tuple[str, ...], bool]:
    """Take ``rest``, all that follows the instruction ``name`` (in upper case), apart.

    Returns:
        Flags (``--x=y``), the text after them, its words, and whether these came as a JSON array. An instruction that
        is not known has no words.

    Raises:
        WordsError: a flag in quotes, a variable without a value, an array of something else than strings …
    """
    flags, text = _flags(rest.strip())
    words, as_json = _PARSERS[name](name, text) if text and name in _PARSERS else ((), False)
    return flags, text, words, as_json


def known(name: str) -> bool:
    """Whether ``name`` (in upper case) is an instruction whose words are understood."""
    return name in _PARSERS


def may_hold_heredoc(name: str, text: str) -> bool:
    """Whether the lines that follow may be the body of a here-document."""
    return name in _HEREDOCS and _HEREDOC in text


def _flags(text: str) -> tuple[tuple[str, ...], str]:
    flags = []
    while text.startswith("--"):
        flag, *after = _SPACE.split(text, maxsplit=1)
        # BuildKit takes quotes off and reads these bytewise.
        if not flag.isascii() or not re.fullmatch(r"--[A-Za-z][^'\"\\]*", flag):
            raise WordsError(f"the flag {flag[:40]} is not plain")
        flags.append(flag)
        text = after[0] if after else ""
    return tuple(flags), text


def _whole(_: str, text: str) -> tuple[tuple[str, ...], bool]:
    return (text,), False


def _blanks(_: str, text: str) -> tuple[tuple[str, ...], bool]:
    return tuple(_SPACE.split(text)), False


def _array_or(otherwise: Callable[[str, str], tuple[tuple[str, ...], bool]]) -> _Parser:
    def parse(name: str, text: str) -> tuple[tuple[str, ...], bool]:
        found = _array(text) if text.startswith("[") else None
        return (found, True) if found is not None else otherwise(name, text)

    return parse


def _array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None where the text is none, which BuildKit then takes for plain words."""
    try:
        found, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(one, str) for one in found):
        raise WordsError("an array of something else than strings")
    if text[end:].strip():
        raise WordsError("something follows an array")  # BuildKit ignores it; a person meant it
    if any(0xD800 <= ord(character) <= 0xDFFF for one in found for character in one):
        raise WordsError("half a character in an array")
    return tuple(found)


def _health(_: str, text: str) -> tuple[tuple[str, ...], bool]:
    kind, *rest = _SPACE.split(text, maxsplit=1)
    if kind.upper() == "NONE":
        return (kind, *rest), False
    words, as_json = _array_or(_whole)("", rest[0]) if rest else ((), False)
    return (kind, *words), as_json


def _variables(name: str, text: str) -> tuple[tuple[str, ...], bool]:
    """``KEY=VALUE …``, or ``KEY VALUE`` as of old; quotes stay."""
    words = _quoted(text)
    if words and "=" not in words[0]:
        pair = _SPACE.split(text, maxsplit=1)
        if len(pair) < 2:
            raise WordsError(f"{name} must have two arguments")
        return tuple(pair), False
    found: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise WordsError(f"there is no = in {word[:40]!r}")
        found += [key, value]
    return tuple(found), False


def _arguments(_: str, text: str) -> tuple[tuple[str, ...], bool]:
    return tuple(_quoted(text)), False


def _quoted(text: str) -> list[str]:
    """Words between blanks that are neither quoted nor escaped; quotes and escapes stay (``parseWords``)."""
    words: list[str] = []
    word, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        if character == "\\" and quote != "'":
            if position + 1 == len(text):
                break  # an escape at the very end is dropped
            word += text[position : position + 2]
            position += 2
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in " \t":
            words += [word] if word else []
            word, position = "", position + 1
            continue
        word += character
        position += 1
    return [*words, word] if word else words


_Parser = Callable[[str, str], tuple[tuple[str, ...], bool]]
_PARSERS: dict[str, _Parser] = {
    "ADD": _array_or(_blanks),
    "ARG": _arguments,
    "CMD": _array_or(_whole),
    "COPY": _array_or(_blanks),
    "ENTRYPOINT": _array_or(_whole),
    "ENV": _variables,
    "EXPOSE": _blanks,
    "FROM": _blanks,
    "HEALTHCHECK": _health,
    "LABEL": _variables,
    "MAINTAINER": _whole,
    "RUN": _array_or(_whole),
    "SHELL": _array_or(_whole),
    "STOPSIGNAL": _whole,
    "USER": _whole,
    "VOLUME": _array_or(_blanks),
    "WORKDIR": _whole,
}
