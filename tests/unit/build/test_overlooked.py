"""What an image asked for in vain is told in words, and laid to no other image."""

from __future__ import annotations

import msgspec
import pytest

from airlock.build.overlooked import MAX_ASKED, asked_in_vain
from airlock.build.rehearsal_journal import Rehearsed
from airlock.build.rehearsal_report import markdown, verdict
from airlock.build.rehearsal_run import ImageState
from airlock.build.rehearse import Rehearsal
from airlock.core.errors import AirlockError, BuildError, IncompleteError
from airlock.room.report import NameQuery, PacketCount, RefusedPackets, RefusedSocket, RoomReport, Served

NONE = PacketCount()


def missing(path: str, image: str = "cron", status: int = 404, host: str = "") -> Served:
    return Served(time=0.0, method="GET", path=path, status=status, bytes=0, sha256=None, image=image, host=host)


def test_every_kind_is_told_once_and_names_the_image() -> None:
    report = RoomReport(
        missing=(
            missing("/pypi/simple/wheel/"),
            missing("/pypi/simple/wheel/"),
            missing("/other", image="base"),
            missing("/x", status=421, host="deb.example.org"),
            missing("/broken-off", status=499),
        ),
        refused_names=(
            NameQuery(name="git.example.org", type="A", kind="refused", image="cron"),
            NameQuery(name="else.example.org", type="A", kind="refused", image="base"),
        ),
        refused_sockets=(
            RefusedSocket(call="socket", family="AF_VSOCK", type="SOCK_STREAM", protocol=0, program="x", image="cron"),
        ),
    )
    packets = PacketCount(
        packets=2,
        refused=(RefusedPackets(family="ipv4", daddr="192.0.2.1", protocol="tcp", port=443, packets=2),),
    )
    assert asked_in_vain("cron", report, packets) == (
        "image cron asked for /pypi/simple/wheel/, which the lock does not hold",
        "image cron asked deb.example.org for /x, which is not the mirror",
        "image cron looked up the name git.example.org (A), which is not the mirror's",
        "image cron sent 2 packets to 192.0.2.1 tcp port 443; they were refused",
        "image cron wanted a socket AF_VSOCK SOCK_STREAM (x); it was refused",
    )
    assert asked_in_vain("nova-api", report, NONE) == ()


def test_what_apt_asks_of_every_unsigned_index_is_not_told_but_a_missing_index_is() -> None:
    asked = ("InRelease", "Release", "Release.gpg", "main/binary-amd64/Packages")
    report = RoomReport(missing=tuple(missing(f"/apt/debian/dists/bookworm/{name}") for name in asked))
    assert asked_in_vain("cron", report, NONE) == (
        "image cron asked for /apt/debian/dists/bookworm/Release, which the lock does not hold",
        "image cron asked for /apt/debian/dists/bookworm/main/binary-amd64/Packages, which the lock does not hold",
    )


def test_an_endless_loop_does_not_fill_the_message() -> None:
    report = RoomReport(missing=tuple(missing(f"/{number}") for number in range(1000)))
    found = asked_in_vain("cron", report, NONE)
    assert len(found) == MAX_ASKED + 1
    assert found[-1] == "and 980 more"


def rehearsal(*asked: str) -> Rehearsal:
    def done(name: str, state: str, **facts: object) -> Rehearsed:
        table = {"image": name, "state": state, "key": "k", "date": "2026-11-24T00:00:00Z", **facts}
        return msgspec.convert(table, type=Rehearsed)

    return Rehearsal(
        release="r",
        arch="x86_64",
        lock="0" * 64,
        images=(
            ImageState("base", "", "built", True, done("base", "built", seconds=60.0)),
            ImageState("nova-base", "base", "failed", True, done("nova-base", "failed", said="boom", asked=asked)),
            ImageState("nova-api", "nova-base", "skipped", True, done("nova-api", "skipped", said="its parent")),
            ImageState("cron", "base", "left"),
        ),
        asked=("base", "nova-base", "nova-api", "cron"),
        left_out={"etcd": "its binary comes from elsewhere"},
        seconds=61.0,
        storage=10**9,
        folder="factory/rehearsal",
    )


@pytest.mark.parametrize(
    ("asked", "kind", "told"),
    [
        (("image nova-base asked for /x, which the lock does not hold",), IncompleteError, "asked for /x, which"),
        ((), BuildError, "image nova-base: no demand was overlooked"),
    ],
)
def test_an_overlooked_demand_is_another_error_than_a_build_that_fails(
    asked: tuple[str, ...], kind: type[AirlockError], told: str
) -> None:
    error = verdict(rehearsal(*asked))
    assert type(error) is kind
    assert told in error.message
    assert "boom" in error.message
    assert "1 more go with" in error.message


def test_what_failed_in_an_earlier_run_for_other_images_is_no_error_now() -> None:
    assert verdict(msgspec.structs.replace(rehearsal(), asked=("base", "cron"))) is None


def test_the_page_tells_every_image_and_why_others_are_left_out() -> None:
    page = markdown(rehearsal())
    for line in (
        "| base | base | built | 60 | 2026-11-24T00:00:00Z |",
        "| nova-api | nova | skipped |  |  |",
        "| cron | cron | left |  |  |",
        "| etcd | its binary comes from elsewhere |",
        "**nova-base**",
    ):
        assert line in page
    assert "1 built, 1 failed, 1 skipped, 1 left" in page
