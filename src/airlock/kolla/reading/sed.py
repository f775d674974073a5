"""Which ``sed`` scripts only edit text: ``s``, ``d``, ``p``, ``q``, ``i``/``a``/``c``; never ``e``, ``w``, ``r``."""

from __future__ import annotations

import re

from airlock.kolla.reading.model import RefusalError

_LINE = re.compile(r"[ \t]*(?:\d+|\$)")
_FLAGS = re.compile(r"(?:[gpiImM]|\d+)*")
_TEXT = re.compile(r"[ \t]*[iac][ \t]+([^\\\n]*)(?:\n|\Z)")
_DELETE_PIN = re.compile(r"/\^[A-Za-z0-9._-]+===/d")
_CHANGE_PIN = re.compile(r"s/\^([A-Za-z0-9._-]+)===[A-Za-z0-9.]+/\1===?[A-Za-z0-9.*]+/g?")


def check_script(script: str) -> None:
    """Accept a script made of harmless commands only.

    Raises:
        RefusalError: anything else.
    """
    position = 0
    while position < len(script):
        if script[position] in " \t\n;":
            position += 1
            continue
        position = _command(script, position)


def is_pin_edit(script: str) -> bool:
    """Whether a script is one of the two forms that edit a constraints file: delete a pin, change a pin."""
    return bool(_DELETE_PIN.fullmatch(script) or _CHANGE_PIN.fullmatch(script))


def _refuse(script: str) -> RefusalError:
    return RefusalError(f"the sed script {script!r} may do more than edit text", "Use s/…/…/, d, p, i, a, c alone.")


def _command(script: str, position: int) -> int:
    position = _address(script, position)
    if script[position : position + 1] == ",":
        position = _address(script, position + 1)
    while script[position : position + 1] in (" ", "\t", "!"):
        position += 1
    command = script[position : position + 1]
    if command == "s":
        position = _substitute(script, position + 1)
    elif command in ("d", "p", "q") and command:
        position += 1
    elif command in ("i", "a", "c") and command:
        match = _TEXT.match(script, position)
        if not match:
            raise _refuse(script)
        return match.end()
    else:
        raise _refuse(script)
    while script[position : position + 1] in (" ", "\t"):
        position += 1
    if script[position : position + 1] not in ("", ";", "\n"):
        raise _refuse(script)
    return position


def _address(script: str, position: int) -> int:
    if match := _LINE.match(script, position):
        return match.end()
    if script[position : position + 1] == "/":
        position = _delimited(script, position + 1, "/")
        while script[position : position + 1] in ("I", "M"):
            position += 1
    return position


def _substitute(script: str, position: int) -> int:
    delimiter = script[position : position + 1]
    if not delimiter or delimiter in "\\\n" or delimiter.isalnum():
        raise _refuse(script)
    position = _delimited(script, position + 1, delimiter)
    position = _delimited(script, position, delimiter, replacement=True)
    match = _FLAGS.match(script, position)
    assert match is not None
    return match.end()


def _delimited(script: str, position: int, delimiter: str, *, replacement: bool = False) -> int:
    """The offset after the closing delimiter. A bracket expression may hold it; GNU sed then does not end there."""
    while position < len(script):
        character = script[position]
        if character == "\\":
            position += 2
        elif character == delimiter:
            return position + 1
        elif character == "[" and not replacement:
            end = position + 1
            if script[end : end + 1] == "^":
                end += 1
            closing = script.find("]", end + 1)
            if closing < 0 or "[" in script[end:closing] or delimiter in script[end:closing]:
                raise _refuse(script)
            position = closing + 1
        elif character == "\n":
            raise _refuse(script)
        else:
            position += 1
    raise _refuse(script)
