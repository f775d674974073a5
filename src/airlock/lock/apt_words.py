"""The words of an apt command in a Dockerfile: which may be simulated, and what they name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from airlock.core.errors import UnclassifiedError

SILENT_VERBS = frozenset({"update", "clean", "autoclean", "auto-clean", "check", "distclean", "dist-clean"})
"""Verbs that change no package: they are demands without an answer."""

_VERBS = SILENT_VERBS | {
    "install", "reinstall", "upgrade", "dist-upgrade", "full-upgrade", "remove", "purge", "autoremove", "auto-remove",
    "autopurge",
}  # fmt: skip
# Options that change the plan and nothing else. What is not here could make apt read other files or run programs.
_PLAN = frozenset({
    "--no-install-recommends", "--install-recommends", "--no-install-suggests", "--install-suggests", "--purge",
    "--no-purge", "--auto-remove", "--autoremove", "--no-auto-remove", "--allow-downgrades", "--no-remove",
    "--allow-change-held-packages", "--allow-remove-essential", "--no-upgrade", "--only-upgrade", "--reinstall",
    "--with-new-pkgs", "--no-with-new-pkgs", "--fix-broken", "-f", "--ignore-hold", "--mark-auto", "--fix-policy",
})  # fmt: skip
# Options that say how much is said or asked: without meaning in a simulation.
_MANNER = re.compile(
    r"-[yqV]+|-q=\d|-qq|--(assume-yes|yes|quiet|quiet=\d|verbose-versions|error-on=any|allow-unauthenticated"
    r"|fix-missing|no-fix-missing|show-progress|no-show-progress|force-yes|allow-releaseinfo-change)"
)
_RELEASE = ("-t", "--target-release", "--default-release")
_SETTING = re.compile(
    r"(?i)(APT::(Install-Recommends|Install-Suggests|AutoRemove::[\w-]+|Get::[\w-]+)|Acquire::.*|Dpkg::.*)=.*"
)
# Those without meaning in a simulation, which must not reach it: they name programs and places.
_SETTING_OF_MANNER = re.compile(r"(?i)(Acquire|Dpkg)::|APT::Get::(Assume-Yes|Download-Only|Simulate|Print-URIs)")


class AptWords(msgspec.Struct, frozen=True):
    """A command taken apart.

    Attributes:
        program: ``apt`` or ``apt-get``.
        verb: ``install`` …
        operands: what follows it, as written.
        options: those that change the plan.
    """

    program: str
    verb: str
    operands: tuple[str, ...]
    options: tuple[str, ...]

    @property
    def named(self) -> frozenset[str]:
        """Package names among the operands that are to be installed (globs and virtual names as they are)."""
        if self.verb not in ("install", "reinstall"):
            return frozenset()
        # apt tries the whole word first: g++ is a package, curl+ is curl.
        kept = [form for word in self.operands if word[-1:] != "-" for form in (word, word.removesuffix("+"))]
        return frozenset(re.split(r"[=/]", form)[0].removesuffix(":native") for form in kept)


def parse_words(words: Sequence[str], where: str) -> AptWords:
    """Take ``apt-get -y install …`` apart.

    Args:
        words: the command as the shell hands it on.
        where: image and line, for the message.

    Raises:
        UnclassifiedError: a verb, an option or an operand whose effect is not known.
    """
    program = words[0].rsplit("/", 1)[-1] if words else ""
    if program not in ("apt", "apt-get"):
        raise _refuse(where, f"{program!r} is neither apt nor apt-get")
    operands: list[str] = []
    options: list[str] = []
    queue = list(words[1:])
    while queue:
        word = queue.pop(0)
        if not word.startswith("-"):
            operands.append(word)
        elif word in _PLAN:
            options.append(word)
        elif word in _RELEASE or word.split("=", 1)[0] in _RELEASE[1:]:
            value = word.split("=", 1)[1] if "=" in word else (queue.pop(0) if queue else "")
            options += ["-t", value]
        elif word in ("-o", "--option") or word.startswith(("-o", "--option=")):
            value = queue.pop(0) if word in ("-o", "--option") and queue else re.sub(r"^(-o=?|--option=)", "", word)
            if not _SETTING.fullmatch(value):
                raise _refuse(where, f"the setting {value!r} is not known")
            if not _SETTING_OF_MANNER.match(value):
                options += ["-o", value]
        elif not _MANNER.fullmatch(word):
            raise _refuse(where, f"the option {word!r} is not known")
    if not operands or operands[0] not in _VERBS:
        raise _refuse(where, f"the verb {operands[0] if operands else ''!r} is not known")
    verb, rest = operands[0], operands[1:]
    for operand in rest:
        if _pattern(operand):
            raise _refuse(where, f"{operand!r} is a pattern, a task or a file, not a package")
    return AptWords(program, verb, tuple(rest), tuple(options))


def _pattern(operand: str) -> bool:
    """Patterns (apt-patterns(7)) and files: apt does not say which packages they name, so marks would be a guess."""
    name = re.split(r"[=/]", operand)[0]
    return (
        not name
        or operand.endswith((".deb", "^"))
        or bool(re.search(r"[?~!(]", name))
        or operand.startswith(("./", "../"))
    )


def _refuse(where: str, reason: str) -> UnclassifiedError:
    return UnclassifiedError(
        f"{where}: an apt command cannot be foreseen: {reason}",
        remedy="Take it out by a template override, or teach airlock.lock.apt_words what it does.",
    )
