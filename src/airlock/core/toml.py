"""TOML into typed tables, with errors a person can use: the file, the key, and the nearest valid name."""

from __future__ import annotations

import difflib
import re
import tomllib
from types import NoneType, UnionType
from typing import TypeVar, get_args, get_type_hints

import msgspec

from airlock.core.errors import AirlockError

T = TypeVar("T")
_UNKNOWN = re.compile(r"unknown field `(?P<field>[^`]*)`(?: - at `(?P<path>[^`]*)`)?")
_ENUM = re.compile(r"Invalid enum value '(?P<value>[^']*)'(?: - at `(?P<path>[^`]*)`)?")


def nearest(name: str, valid: list[str]) -> str:
    """``; did you mean 'x'?`` or, where nothing is near, the valid names."""
    close = difflib.get_close_matches(name, valid, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(sorted(valid)[:12])
    return f"; valid: {shown}{' …' if len(valid) > 12 else ''}"


def _at(table: type, path: str | None) -> object:
    """The type that ``$.a.b`` names inside ``table``."""
    current: object = table
    for part in (path or "$").removeprefix("$").strip(".").replace("[...]", "[]").split("."):
        name = part.split("[")[0]
        if not name:
            continue
        if isinstance(current, type) and issubclass(current, msgspec.Struct):
            current = get_type_hints(current).get(name, object)
            if isinstance(current, UnionType):  # a table that may be left out
                current = next((one for one in get_args(current) if one is not NoneType), object)
        if "[" in part:
            current = next(reversed(get_args(current)), object)  # of a table of tables: what it holds
    return current


def parse_toml(data: bytes, table: type[T], name: str, error_class: type[AirlockError]) -> T:
    """Parse ``data`` into the msgspec struct ``table``.

    Raises:
        error_class: not TOML, an unknown key, a wrong type or value; the message names file, key and,
            for a misspelt key or value, the nearest valid one.
    """
    try:
        return msgspec.convert(tomllib.loads(data.decode()), table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise error_class(f"{name} is not TOML: {error}") from None
    except msgspec.ValidationError as error:
        text = str(error)
        if found := _UNKNOWN.search(text):
            owner = _at(table, found["path"])
            valid = (
                [field.encode_name for field in msgspec.structs.fields(owner)]
                if isinstance(owner, type) and issubclass(owner, msgspec.Struct)
                else []
            )
            where = (found["path"] or "$").removeprefix("$").removeprefix(".").replace("[...]", ".*")
            place = f" in [{where}]" if where else ""
            raise error_class(
                f"{name}: unknown key {found['field']!r}{place}{nearest(found['field'], valid)}"
            ) from None
        if found := _ENUM.search(text):
            choices = [str(value) for value in get_args(_at(table, found["path"]))]
            where = (found["path"] or "$").removeprefix("$.")
            raise error_class(
                f"{name}: {where} cannot be {found['value']!r}{nearest(found['value'], choices)}"
            ) from None
        raise error_class(f"{name}: {text}") from None
