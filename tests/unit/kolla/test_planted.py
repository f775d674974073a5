"""Lines planted to fool the reader are never read as home."""

from __future__ import annotations

from pathlib import Path

import pytest

PIECES = (Path(__file__).parent / "planted.txt").read_text(encoding="utf-8").rstrip("\n").split("\n---\n")[1:]


def test_there_are_at_least_a_hundred_planted_pieces():
    assert len(set(PIECES)) == len(PIECES) >= 100


@pytest.mark.parametrize("piece", PIECES)
def test_a_planted_piece_is_never_home(reader, piece):
    kinds = reader.kinds(piece)
    assert set(kinds) - {"home"}, kinds


@pytest.mark.parametrize("piece", PIECES[::7])
def test_a_planted_piece_between_harmless_lines_is_never_home(reader, piece):
    kinds = reader.kinds(f"RUN true\n{piece.rstrip()}\nRUN mkdir -p /etc/keystone")
    assert set(kinds) - {"home"}, kinds


def test_the_parent_of_the_planted_pieces_is_read_without_a_gap(reader):
    assert reader.parent.unclassified == ()
