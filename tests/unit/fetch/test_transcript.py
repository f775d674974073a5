"""The transcript's format."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.digest import sha256_bytes
from airlock.core.errors import FormatError, IntegrityError
from airlock.fetch.transcript import Entry, Transcript, absent, kept, parse_transcript
from airlock.store.pool import Pool

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
entries = st.builds(
    Entry,
    upstream=names | st.just(""),
    path=names,
    status=st.sampled_from([200, 404]),
    sha256=st.binary(max_size=4).map(sha256_bytes),
    size=st.integers(0, 2**53 - 1),
    type=st.sampled_from(["application/octet-stream", "text/html"]),
)


@given(st.lists(entries), st.randoms())
def test_a_transcript_reads_back_and_does_not_depend_on_the_order_of_asking(found, random):
    unique = list({entry.key: entry for entry in found}.values())
    first = Transcript(unique).to_bytes()
    random.shuffle(unique)
    assert Transcript(unique).to_bytes() == first
    again = parse_transcript(first)
    assert again.to_bytes() == first
    assert all(again.find(*entry.key) == entry for entry in unique)


def test_an_upstreams_first_answer_counts_and_the_last_kept_thing():
    transcript = Transcript()
    one, two = sha256_bytes(b"1"), sha256_bytes(b"2")
    for digest in (one, two):
        transcript.add(Entry("debian", "a", 200, digest, 1))
        transcript.add(Entry("", "kept", 200, digest, 1))
    transcript.add(absent("debian", "a"))
    assert transcript.find("debian", "a").sha256 == one
    assert transcript.find("", "kept").sha256 == two


@pytest.mark.parametrize(
    "line", [b"{}", b"no", b"\xff", b'{"upstream":"a","path":"b","status":200,"sha256":"zz","size":1}']
)
def test_what_is_no_transcript_names_its_line(line):
    good = Transcript([absent("a", "b")]).to_bytes()
    with pytest.raises(FormatError, match="line 2"):
        parse_transcript(good + line)


def test_what_was_not_kept_is_an_error_that_says_what_to_do(tmp_path: Path):
    pool = Pool(tmp_path)
    name = pool.add_bytes(Transcript().to_bytes())
    with pytest.raises(IntegrityError, match="apt/stanzas") as raised:
        kept(pool, name, "apt/stanzas")
    assert "airlock lock" in raised.value.remedy
