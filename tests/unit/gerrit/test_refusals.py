"""Whatever a Gerrit or git says: one error, with words a person can read, and without the password."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import AirlockError, UpstreamError, UsageError
from airlock.core.gerrit_settings import GerritPlace
from airlock.gerrit.push import _refused
from airlock.gerrit.refusals import refused, words

PLACE = GerritPlace("http://review.example.org", "airlock", Path("gerrit.password"), {})


@given(st.text(max_size=2000))
def test_words_are_one_printable_line(text: str) -> None:
    said = words(text)
    assert said == "" or said.isprintable()
    assert len(said) <= 200


@given(st.integers(300, 599), st.text(max_size=500))
def test_every_status_is_an_error_with_a_remedy(status: int, text: str) -> None:
    error = refused(PLACE, "create project x", status, text)
    assert isinstance(error, AirlockError)
    assert "create project x" in error.message
    assert error.remedy


@given(st.text(max_size=500), st.text(max_size=500))
def test_whatever_git_says_is_an_error_with_a_remedy(text: str, said: str) -> None:
    assert _refused(PLACE, "x", text, said).remedy


@pytest.mark.parametrize(
    ("text", "said", "kind", "says"),
    [
        (
            "",
            "fatal: Authentication failed for 'http://review.example.org/a/x/'",
            UsageError,
            "does not take the passw",
        ),
        ("", "fatal: unable to access 'http://…': Connection refused", UpstreamError, "Connection refused"),
        (
            "To http://review.example.org/a/x\n=\ta:refs/heads/a\t[up to date]\n"
            "!\tb:refs/heads/b\t[remote rejected] (prohibited by Gerrit: not permitted: create)\nDone\n",
            "error: failed to push some refs",
            UsageError,
            "refs/heads/b [remote rejected] (prohibited by Gerrit: not permitted: create)",
        ),
    ],
)
def test_what_git_says_is_told_by_its_kind(text: str, said: str, kind: type[AirlockError], says: str) -> None:
    error = _refused(PLACE, "x", text, said)
    assert type(error) is kind
    assert says in error.message
