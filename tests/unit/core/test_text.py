"""What comes from outside cannot speak to the terminal that it is shown on."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.cli.common import answer, show_error
from airlock.core.errors import ResolutionError
from airlock.core.text import is_plain, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;x\x07", "\\x1b[2J\\x1b]0;x\\x07"),
        ("a\rb\x9bc", "a\\rb\\x9bc"),
        ("gpj.\u202egnp", "gpj.\\u202egnp"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("lines\nand\ttabs → é 漢", "lines\nand\ttabs → é 漢"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown
    assert is_plain(text) == (text == shown and "\n" not in text)


@given(st.text())
def test_no_control_character_is_left_of_any_text(text):
    left = {character for character in printable(text) if unicodedata.category(character) in ("Cc", "Cs")}
    assert left <= {"\n", "\t"}


def test_answers_and_errors_are_fit_for_a_terminal(capsys):
    answer(False, {}, ["name \x1b[31m"])
    show_error(ResolutionError("bad \x1b[2J", remedy="see \x1b]8;;"), False)
    said = capsys.readouterr()
    assert "\x1b" not in said.out
    assert "bad \\x1b[2J" in said.err
    assert "see \\x1b]8;;" in said.err
