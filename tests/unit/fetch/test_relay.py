"""Ranges, as RFC 9110 has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.fetch.relay import _range

DATA = bytes(range(100))


@given(st.integers(0, 120), st.integers(0, 120))
def test_a_range_is_what_it_says_and_never_more_than_there_is(first, last):
    start, end, partial = _range(f"bytes={first}-{last}", len(DATA))
    assert partial
    assert DATA[start:end] == (DATA[first : last + 1] if first <= last else b"")
    assert _range(f"bytes={first}-", len(DATA)) == (first, 100, True)
    start, end, _ = _range(f"bytes=-{last}", len(DATA))
    assert DATA[start:end] == DATA[max(100 - last, 0) :]


@pytest.mark.parametrize("header", ["", "bytes=-", "bytes=1-2,4-5", "items=1-2", "bytes=a-b", "bytes=1", "bytes=1-2 "])
def test_what_is_no_single_range_means_the_whole(header):
    assert _range(header, 100) == (0, 100, False)
