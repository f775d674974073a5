"""Arguments by a rule's option list, in the manner of GNU getopt; an option that is not listed is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from airlock.kolla.reading.model import RefusalError
from airlock.kolla.reading.rules import CommandRule
from airlock.kolla.reading.words import Word, literal


class Arguments(msgspec.Struct):
    """``options``: name without dashes and value (None without), in order; ``words``: every option word as written."""

    options: list[tuple[str, Word | None]]
    operands: list[Word]
    words: list[str]

    def has(self, *names: str) -> bool:
        """Whether any of these options was given."""
        return any(name in names for name, _ in self.options)

    def values(self, *names: str) -> list[Word]:
        """The values of these options in order."""
        return [value for name, value in self.options if name in names and value is not None]


def parse_arguments(words: Sequence[Word], rule: CommandRule) -> Arguments:
    """Split the words after a command's name into options and operands.

    Raises:
        RefusalError: an unlisted option, a missing value, or a word that may turn out to be an option.
    """
    if rule.raw:
        return Arguments([], list(words), [])
    result = Arguments([], [], [])
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word.known == "--":
            result.words.append("--")
            for rest in queue:
                _require_one(rest, rule)
            result.operands += queue
            break
        if not _is_option(word, rule):
            result.operands.append(word)
            if rule.posix:
                result.operands += queue
                break
            continue
        text = word.known
        if text is None:
            raise RefusalError(f"the option {word.text} cannot be told")
        result.words.append(text)
        if text.startswith("--"):
            _long(text[2:], rule, queue, result)
        else:
            _cluster(text[1:], rule, queue, result)
    _check_operands(result, rule)
    return result


def _require_one(word: Word, rule: CommandRule) -> None:
    if word.splits and not rule.loose:
        raise RefusalError(f"{word.text} may turn out to be any number of words", "Quote it.")


def _is_option(word: Word, rule: CommandRule) -> bool:
    if word.prefix.startswith("-"):
        return word.text != "-"
    if rule.loose or not word.parts:
        return False
    _require_one(word, rule)
    if not word.prefix:
        raise RefusalError(f"{word.text} may turn out to be an option", "Begin it with ./ or /, or put -- before it.")
    return False


def _long(text: str, rule: CommandRule, queue: list[Word], result: Arguments) -> None:
    name, equals, value = text.partition("=")
    for spec in rule.long:
        listed, takes, only = spec.partition("=")
        if listed != name:
            continue
        if not takes:
            if equals:
                continue
            result.options.append((name, None))
            return
        found = literal(value) if equals else _next(f"--{name}", queue, result)
        if only and found.known != only:
            continue
        result.options.append((name, found))
        return
    raise RefusalError(f"no rule knows the option --{text} here")


def _next(option: str, queue: list[Word], result: Arguments) -> Word:
    if not queue:
        raise RefusalError(f"the option {option} lacks its value")
    value = queue.pop(0)
    if value.splits:
        raise RefusalError(f"the value of {option}, {value.text}, may turn out to be any number of words")
    result.words.append(value.text)
    return value


def _cluster(letters: str, rule: CommandRule, queue: list[Word], result: Arguments) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        index = rule.short.find(letter) if letter not in ": " else -1
        if index < 0:
            raise RefusalError(f"no rule knows the option -{letter} here")
        if rule.short[index + 1 : index + 3] == "::":
            if letters:
                raise RefusalError(f"no rule knows the option -{letter} with a value ({letters})")
            result.options.append((letter, None))
            continue
        if rule.short[index + 1 : index + 2] != ":":
            result.options.append((letter, None))
            continue
        result.options.append((letter, literal(letters) if letters else _next(f"-{letter}", queue, result)))
        return


def _check_operands(result: Arguments, rule: CommandRule) -> None:
    for name in rule.requires:
        if not result.has(name):
            raise RefusalError(f"without the option {name} no rule knows it")
    after = result.operands[len(rule.subcommand) :]
    if rule.exactly is not None and tuple(word.known for word in after) != rule.exactly:
        raise RefusalError("no rule knows these operands here")
    if rule.operands:
        for word in after:
            if word.pattern is None or not re.fullmatch(rule.operands, word.pattern):
                raise RefusalError(f"no rule knows the operand {word.text} here")
