"""Refusals are told image by image, and only where going on was asked for."""

from __future__ import annotations

import pytest

from airlock.cli.lock import fallen
from airlock.core.errors import GoneError, IntegrityError, ResolutionError, SpaceError, UpstreamError
from airlock.lock.apt_resolver import AptCommand, AptFile
from airlock.lock.shortfall import Refused, Shortfall
from airlock.lock.vendors import require_reached


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
        Refused("x86_64", "nova-base", ("a", "b"), remedies=(UpstreamError.default_remedy,)),
        Refused("x86_64", "nova-x", ("its parent nova-api cannot be locked",), "nova-api"),
    ]


def test_what_is_wrong_with_the_machine_is_not_an_images_fault():
    with pytest.raises(SpaceError), Shortfall("x86_64", keep_going=True).of("base"):
        raise SpaceError("the disk is full")


def test_a_key_that_cannot_be_had_is_not_held_against_the_image_that_fetches_it_for_all():
    shortfall = Shortfall("x86_64", keep_going=True)
    with shortfall.of_key("base", "http://mirror.example.org/a.key"):
        raise GoneError("no such key")
    assert list(shortfall.keys) == [("base", "http://mirror.example.org/a.key")]
    assert not shortfall.blocks("base", "")
    with pytest.raises(GoneError), Shortfall("x86_64").of_key("base", "x"):
        raise GoneError("no such key")


def test_finding_out_goes_on_without_vendors_but_not_without_room_or_when_nobody_asked_for_it():
    lost = {"grafana": UpstreamError("down"), "influxdb": IntegrityError("unsigned")}
    shortfall = Shortfall("x86_64", keep_going=True)
    assert shortfall.without_vendors(lost)
    assert shortfall.vendors == lost
    assert not shortfall.without_vendors({})
    assert not shortfall.without_vendors({"grafana": SpaceError("the disk is full")})
    assert not Shortfall("x86_64").without_vendors(lost)


def test_an_image_is_refused_for_the_repository_that_it_enables_and_for_no_other():
    text = "Uris: http://mirror.example.org/v\nSuites: stable\nComponents: main\nTypes: deb\nSigned-By: /k.asc\n"
    steps = [AptFile("/etc/apt/sources.list.d/grafana.sources", text.encode()), AptCommand(("apt-get", "update"), 3)]
    require_reached("grafana", "x86_64", steps, {"influxdb": UpstreamError("down")})
    require_reached(
        "grafana",
        "x86_64",
        [AptFile("/etc/apt/sources.list.d/grafana.sources", None)],
        {"grafana": UpstreamError("down")},
    )
    with pytest.raises(UpstreamError, match=r"image grafana \(x86_64\) enables .* grafana, .* down") as said:
        require_reached("grafana", "x86_64", steps, {"grafana": UpstreamError("down", remedy="Look there.")})
    assert said.value.remedy.startswith("Look there. Or take grafana out of vendor_repositories, and leave out")


def test_what_falls_with_an_image_is_told_in_one_line():
    below = [
        Refused("x86_64", f"i{number:03}", ("…",), f"i{number - 1:03}" if number else "base") for number in range(200)
    ]
    told = fallen([Refused("x86_64", "base", ("down",)), *below, Refused("aarch64", "x", ("down",))])
    assert len(told) == 1
    assert told[0].startswith("200 images built on base (x86_64): i000, i001, ")
    assert told[0].endswith(" and 188 more")
