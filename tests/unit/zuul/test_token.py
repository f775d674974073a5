from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import UsageError
from airlock.zuul.token import claims


def token(payload: object) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"header.{middle}.signature"


def test_a_token_says_whose_it_is():
    assert claims(token({"sub": "olga", "exp": time.time() + 60, "zuul": {"admin": ["t"]}}), "file").sub == "olga"
    assert claims(token({"sub": "olga"}), "file").exp is None


def test_an_expired_one_is_told_before_zuul_is_asked():
    with pytest.raises(UsageError, match=r"the token in file expired at 2001-09-09T01:46:40Z"):
        claims(token({"sub": "olga", "exp": 1e9}), "file")


@given(st.text())
def test_what_is_none_is_refused_without_being_shown(text):
    for said in (text, f"a.{text}.b", token(text), token({"exp": 1}), token({"sub": 1})):
        with pytest.raises(UsageError) as caught:
            claims(said, "file")
        assert str(caught.value).startswith("file holds no JSON web token")
