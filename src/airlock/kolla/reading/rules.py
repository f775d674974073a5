"""The rules as data (``kolla/rules.toml``): what is allowed, by command, subcommand and option. Nothing else is."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from airlock.core.errors import FormatError

RULES = Path(__file__).parent.parent / "rules.toml"

MAX_SIZE = 1 << 20

Operation = Literal["copy", "link", "write", "edit", "touch", "download", "extract", "remove"]
Content = Literal["any", "context", "text", "dpkg-cfg", "curlrc"]


class CommandRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One (command, subcommand, options) that is known.

    ``names``: base names. ``paths``: folders besides the system's where the command may be called by path.
    ``subcommand``: the first operands. ``short``: letters as for getopt (``m:`` takes a value). ``long``: ``name``,
    ``name=`` (any value) or ``name=value`` (that one). ``loose``: words that cannot be told are fine, whatever they
    turn out to be. ``raw``: no option parsing at all. ``posix``: options end at the first operand. ``operands``: a
    pattern that every operand after the subcommand must match as a whole. ``exactly``: the very operands.
    ``requires``: options that must be given.
    """

    names: tuple[str, ...]
    kind: Literal["home", "demand", "network-config"] = "home"
    demand: str = ""
    handler: str = ""
    paths: tuple[str, ...] = ()
    subcommand: tuple[str, ...] = ()
    short: str = ""
    long: tuple[str, ...] = ()
    loose: bool = False
    raw: bool = False
    posix: bool = False
    operands: str = ""
    exactly: tuple[str, ...] | None = None
    requires: tuple[str, ...] = ()


class PlaceRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a build may write. ``paths``: ``*`` matches within one name; what is below a place belongs to it.

    ``by``: the operations; all when empty. ``exclude``: folders that do not belong to it.
    ``content``: what must be known of what is written.
    """

    paths: tuple[str, ...]
    kind: Literal["home", "network-config"] = "home"
    by: tuple[Operation, ...] = ()
    exclude: tuple[str, ...] = ()
    content: Content = "any"


class EnvironmentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Variables that ENV, ARG, export and prefixes may set; ``values``: pattern of the whole value, when limited."""

    names: tuple[str, ...]
    kind: Literal["home", "network-config"] = "home"
    values: str = ""


class ScriptRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``python -c`` script that is known word for word; ``output`` is what it prints.

    ``segment``: what it prints cannot be told, but is one word without white space and slashes.
    """

    text: str
    output: str = ""
    segment: bool = False


class LinkRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A symbolic link that may be made: its path, and a pattern of the absolute target."""

    path: str
    target: str


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All rules; ``services`` name the folders a service has below /etc, /var/lib … (``service_places``)."""

    commands: tuple[CommandRule, ...] = ()
    places: tuple[PlaceRule, ...] = ()
    environment: tuple[EnvironmentRule, ...] = ()
    scripts: tuple[ScriptRule, ...] = ()
    links: tuple[LinkRule, ...] = ()
    services: tuple[str, ...] = ()
    service_places: tuple[str, ...] = ()
    path_entries: tuple[str, ...] = ()
    venvs: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    os_release: tuple[str, ...] = ()

    def commands_named(self, name: str) -> tuple[CommandRule, ...]:
        """The rules for a base name, in order."""
        return tuple(rule for rule in self.commands if name in rule.names)

    def all_places(self) -> tuple[PlaceRule, ...]:
        """The places, those of the services among them."""
        service = tuple(place.replace("{service}", name) for place in self.service_places for name in self.services)
        return (*self.places, PlaceRule(paths=service))


def decode_rules(text: str, name: str = "rules") -> Rules:
    """Rules from TOML.

    Raises:
        FormatError: not TOML, an unknown key, or a pattern that is no regular expression.
    """
    try:
        rules = msgspec.toml.decode(text, type=Rules)
        for pattern in [rule.operands for rule in rules.commands] + [rule.values for rule in rules.environment]:
            re.compile(pattern)
    except (msgspec.DecodeError, re.error) as error:
        raise FormatError(f"{name}: {error}", remedy="docs/verbs/classify.md explains the rules.") from error
    return rules


@lru_cache(maxsize=8)
def load_rules(extra: Path | None = None) -> Rules:
    """The rules that come with Airlock; with those of ``extra`` (same form) added.

    Raises:
        FormatError: a file is not in the form, or larger than 1 MiB.
    """
    rules = decode_rules(RULES.read_text(encoding="utf-8"), RULES.name)
    if extra is None:
        return rules
    with extra.open("rb") as stream:
        data = stream.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise FormatError(f"{extra}: larger than 1 MiB")
    added = decode_rules(data.decode("utf-8", "replace"), str(extra))
    if unknown := {rule.handler for rule in added.commands} - {rule.handler for rule in rules.commands}:
        raise FormatError(f"{extra}: no such handler: {', '.join(sorted(unknown))}")
    merged = {field: (*getattr(rules, field), *getattr(added, field)) for field in Rules.__struct_fields__}
    return Rules(**merged)
