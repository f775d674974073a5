from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import UsageError
from airlock.evidence.asked import (
    MAX_DETAILS,
    MAX_REASON,
    MAX_VALUE,
    checked_name,
    checked_reason,
    parse_commits,
    parse_details,
    required_reason,
)

PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=MAX_VALUE)
COMMIT = "a" * 40


@given(PRINTABLE)
def test_a_reason_is_kept_as_it_was_said(text):
    said = f"{text}\n{text}"[:MAX_REASON]
    assert checked_reason(said) == said


@pytest.mark.parametrize("text", ["{{ lookup('pipe', 'id') }}", 'it\'s "quoted"', "$(id) `id`", "two\nlines", "–—ß☃"])
def test_what_a_shell_or_a_template_would_read_is_just_text(text):
    assert required_reason(text) == text


@given(st.characters(categories=("Cc", "Cs")).filter(lambda character: character != "\n"))
def test_no_control_character_gets_into_a_reason_or_a_name(character):
    assert unicodedata.category(character) in ("Cc", "Cs")
    for check in (checked_reason, lambda text: checked_name(text, "it"), lambda text: parse_details([f"key={text}"])):
        with pytest.raises(UsageError, match=r"control character \(U\+00|U\+D"):
            check(f"a{character}b")


def test_a_name_has_one_line():
    with pytest.raises(UsageError, match=r"U\+000A"):
        checked_name("a\nb", "the requester")


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_an_empty_reason_is_refused_where_one_is_required(text):
    with pytest.raises(UsageError, match="a reason is required"):
        required_reason(text)
    with pytest.raises(UsageError, match="it is empty"):
        checked_name(text, "it")


def test_what_is_too_long_is_refused():
    assert checked_reason("a" * MAX_REASON)
    with pytest.raises(UsageError, match="1001 characters"):
        checked_reason("a" * (MAX_REASON + 1))
    with pytest.raises(UsageError, match="501 characters"):
        parse_details(["key=" + "a" * (MAX_VALUE + 1)])
    with pytest.raises(UsageError, match="33 details"):
        parse_details([f"k{number}=" for number in range(MAX_DETAILS + 1)])


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True), PRINTABLE, max_size=MAX_DETAILS))
def test_details_are_read_as_they_were_said(details):
    assert parse_details([f"{key}={value}" for key, value in details.items()]) == details


@pytest.mark.parametrize("word", ["", "=", "=value", "key", "Key=value", "a b=c", "1a=b", "ä=b", "a" * 33 + "=b"])
def test_a_detail_of_another_form_is_refused(word):
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        parse_details([word])


def test_nothing_is_said_twice():
    with pytest.raises(UsageError, match="twice"):
        parse_details(["key=a", "key=a"])
    with pytest.raises(UsageError, match="twice"):
        parse_commits([f"kolla={COMMIT}", f"kolla={COMMIT}"])


@pytest.mark.parametrize("commit", ["", "master", "a" * 39, "A" * 40, "a" * 41, "a" * 63, f"{COMMIT}\n"])
def test_only_a_whole_commit_is_one(commit):
    with pytest.raises(UsageError, match="REPOSITORY=COMMIT"):
        parse_commits([f"kolla={commit}"])
    assert parse_commits([f"kolla={COMMIT}", f"other={'b' * 64}"]) == {"kolla": COMMIT, "other": "b" * 64}
