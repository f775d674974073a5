"""Refusals are told image by image, and only where going on was asked for."""

from __future__ import annotations

import pytest

from airlock.core.errors import ResolutionError, SpaceError, UpstreamError
from airlock.lock.shortfall import Refused, Shortfall


def test_the_first_refusal_is_raised_unless_going_on_is_asked_for():
    shortfall = Shortfall("x86_64")
    with pytest.raises(ResolutionError, match="no such package"), shortfall.of("fluentd"):
        raise ResolutionError("no such package")
    assert shortfall.refused == []


def test_every_reason_of_an_image_is_kept_once_and_its_descendants_follow():
    shortfall = Shortfall("x86_64", keep_going=True)
    for error in (ResolutionError("a"), UpstreamError("b"), ResolutionError("a")):
        with shortfall.of("nova-base"):
            raise error
    asked = [("base", ""), ("nova-base", "base"), ("nova-api", "nova-base"), ("nova-x", "nova-api")]
    assert [shortfall.blocks(*one) for one in asked] == [False, True, True, True]
    assert shortfall.refused == [
        Refused("x86_64", "nova-api", ("its parent nova-base cannot be locked",), "nova-base"),
        Refused("x86_64", "nova-base", ("a", "b")),
        Refused("x86_64", "nova-x", ("its parent nova-api cannot be locked",), "nova-api"),
    ]


def test_what_is_wrong_with_the_machine_is_not_an_images_fault():
    with pytest.raises(SpaceError), Shortfall("x86_64", keep_going=True).of("base"):
        raise SpaceError("the disk is full")
