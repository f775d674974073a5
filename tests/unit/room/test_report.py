"""Bounds of the record, and what a refused call is called."""

import errno

from airlock.room.report import Log, NameQuery, Served, Tally
from airlock.room.seccomp import describe


def query(name):
    return NameQuery(name=name, type="A", kind="refused", image="")


def test_a_tally_keeps_equal_entries_once_and_stops_growing():
    tally = Tally(limit=2)
    for name in ("a", "b", "a", "c", "a"):
        tally.add(query(name))
    assert [(entry.name, entry.count) for entry in tally.entries] == [("a", 3), ("b", 1)]
    assert tally.dropped == 1


def test_a_log_stops_growing_and_says_how_much_it_left_out():
    log = Log(limit=1)
    for _ in range(3):
        log.add(Served(time=0.0, method="GET", path="/", status=200, bytes=0, sha256=None, image=""))
    assert (len(log.entries), log.dropped) == (1, 2)


def test_high_bits_that_the_kernel_ignores_do_not_hide_a_family():
    entry, number = describe("socket", [(1 << 32) + 40, 1, 0, 0, 0, 0])
    assert (entry.family, entry.type, number) == ("AF_VSOCK", "SOCK_STREAM", errno.EAFNOSUPPORT)


def test_raw_sockets_fail_as_without_the_capability():
    assert describe("socket", [2, 3, 1, 0, 0, 0])[1] == errno.EPERM


def test_io_uring_fails_as_in_a_kernel_without_it():
    assert describe("io_uring_setup", [0] * 6)[1] == errno.ENOSYS


def test_an_unknown_family_is_a_number():
    assert describe("socket", [999, 1, 0, 0, 0, 0])[0].family == "999"
