"""What ``apt-get -s`` says it would do, and the state that doing it would leave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from airlock.lock.apt_catalogue import Offer
from airlock.lock.apt_state import AptState, Installed
from airlock.lock.apt_text import installed_stanza

# Inst libc6 [2.36-9] (2.36-9+deb12u14 Debian:12.15/oldstable, Debian-Security:12/… [amd64]) []
_INSTALL = re.compile(r"Inst (\S+)(?: \[[^]]*\])? \((\S+) .*\[(\S+)\]\)")
_REMOVE = re.compile(r"(?:Remv|Purg) (\S+)")
_SELECTED = re.compile(r"Note, selecting '([^']+)' (?:instead of|for (?:glob|regex|task)) '")
_MANUAL = re.compile(r"(\S+) (?:set to manually installed|was already set to manually installed)\.")


class Step(msgspec.Struct, frozen=True):
    """One package that a plan touches; version and arch are empty for a removal."""

    action: Literal["install", "remove"]
    name: str
    version: str = ""
    arch: str = ""


class Plan(msgspec.Struct, frozen=True):
    """What apt would do, in its order.

    Attributes:
        steps: installs (upgrades too) and removals.
        selected: packages that apt took for a virtual name, a glob or a regular expression.
        manual: packages whose mark it clears.
    """

    steps: tuple[Step, ...]
    selected: frozenset[str]
    manual: frozenset[str]


def parse_plan(output: str) -> Plan:
    """Read the standard output of ``apt-get -s -o quiet=0 -o quiet::NoProgress=true``.

    Raises:
        ValueError: a line about a package in a form that apt 2.6 does not write.
    """
    steps: list[Step] = []
    selected: set[str] = set()
    manual: set[str] = set()
    for line in output.splitlines():
        if line.startswith("Inst "):
            match = _INSTALL.match(line)
            if match is None:
                raise ValueError(line)
            steps.append(Step("install", match[1], match[2], match[3]))
        elif line.startswith(("Remv ", "Purg ")):
            match = _REMOVE.match(line)
            if match is None:
                raise ValueError(line)
            steps.append(Step("remove", match[1]))
        elif match := _SELECTED.match(line):
            selected.add(match[1])
        elif match := _MANUAL.fullmatch(line.strip()):
            manual.add(match[1])
    return Plan(tuple(steps), frozenset(selected), frozenset(manual))


def follow(
    state: AptState, plan: Plan, named: Iterable[str], find: Callable[[str, str, str], Offer]
) -> tuple[AptState, list[Offer]]:
    """The state after a plan, and the packages it installed.

    A package that is new and was not named is marked automatic; one that was named keeps or loses its mark as
    pkgDepCache::MarkInstall has it.

    Args:
        named: package names of the command; what apt selected for them is added here.
        find: (name, version, arch) → the package.
    """
    wanted = frozenset(named) | plan.selected
    packages = dict(state.packages)
    auto = set(state.auto) - plan.manual
    installed: list[Offer] = []
    for step in plan.steps:
        if step.action == "remove":
            packages.pop(step.name, None)
            auto.discard(step.name)
            continue
        offer = find(step.name.partition(":")[0], step.version, step.arch)
        if step.name in wanted:
            auto.discard(step.name)
        elif step.name not in packages:
            auto.add(step.name)
        packages[step.name] = Installed(offer.artifact.id, installed_stanza(offer.stanza))
        installed.append(offer)
    return state.replace(packages, auto), installed
