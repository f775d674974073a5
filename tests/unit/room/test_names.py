"""The room's resolver, at the level of messages."""

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.room.gateway import MIRROR_NAME
from airlock.room.names import Names


def ask(names, name, kind="A"):
    return dns.message.from_wire(names.answer(dns.message.make_query(name, kind).to_wire()))


@pytest.fixture
def names():
    return Names(lambda: "keystone", lambda: frozenset({"0123456789ab"}))


@pytest.mark.parametrize(("kind", "address"), [("A", "127.0.0.1"), ("AAAA", "::1")])
def test_the_mirror_has_loopback_addresses(names, kind, address):
    assert ask(names, MIRROR_NAME, kind).answer[0][0].to_text() == address
    assert [(q.name, q.kind, q.image) for q in names.queries] == [(MIRROR_NAME, "mirror", "keystone")]


def test_the_mirror_is_found_whatever_the_case(names):
    assert ask(names, MIRROR_NAME.upper()).answer


def test_a_type_that_the_mirror_has_not_is_empty_and_no_error(names):
    answer = ask(names, MIRROR_NAME, "TXT")
    assert (answer.rcode(), answer.answer) == (dns.rcode.NOERROR, [])


@pytest.mark.parametrize("name", ["example.org", f"{MIRROR_NAME}.example.org", f"x.{MIRROR_NAME}", "wpad", "."])
def test_any_other_name_does_not_exist_and_is_recorded_as_refused(names, name):
    assert ask(names, name).rcode() == dns.rcode.NXDOMAIN
    assert [q.kind for q in names.queries] == ["refused"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [(f"_http._tcp.{MIRROR_NAME}", "SRV"), ("0123456789ab", "A"), ("1.0.0.127.in-addr.arpa", "PTR")],
)
def test_expected_noise_is_refused_but_recorded_apart(names, name, kind):
    assert ask(names, name, kind).rcode() == dns.rcode.NXDOMAIN
    assert [q.kind for q in names.queries] == ["noise"]


def test_a_name_asked_again_is_counted(names):
    for _ in range(3):
        ask(names, "example.org")
    assert [q.count for q in names.queries] == [3]


@given(st.binary(max_size=600))
def test_no_bytes_make_the_resolver_fail(data):
    answer = Names(lambda: "", lambda: frozenset()).answer(data)
    assert answer is None or dns.message.from_wire(answer).flags & dns.flags.QR


def test_answers_are_not_answered(names):
    answer = dns.message.make_response(dns.message.make_query("example.org", "A"))
    assert names.answer(answer.to_wire()) is None
    assert names.queries == []
