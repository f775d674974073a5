"""The window's resolver: named hosts alone, bounded, and let through before they are told."""

from __future__ import annotations

import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import WindowError
from airlock.firewall import resolver as module
from airlock.firewall.resolver import LONGEST, SHORTEST, Resolver


class Case:
    """A resolver whose upstream answers from ``zone``; ``admitted`` is what it let through."""

    def __init__(self, monkeypatch, zone: dict[tuple[str, str], tuple[list[str], float]], **options) -> None:
        self.zone, self.admitted = zone, []
        values = {"private": [], "limit": 4, "nameservers": ["192.0.2.53"], **options}
        self.resolver = Resolver({"a.example.org", "b.example.org"}, admit=self._admit, **values)
        monkeypatch.setattr(module, "_static", lambda name: ())

        async def ask(name: str, kind: str) -> tuple[list[str], float]:
            return self.zone.get((name, kind), ([], 0.0))

        monkeypatch.setattr(self.resolver, "_ask", ask)

    def _admit(self, name, addresses, seconds) -> None:
        self.admitted.append((name, addresses, seconds))

    async def ask(self, name: str, kind: str = "A") -> dns.message.Message:
        wire = await self.resolver.answer(dns.message.make_query(name, kind).to_wire())
        assert wire is not None
        return dns.message.from_wire(wire)


async def test_a_named_host_is_let_through_before_it_is_told(monkeypatch):
    case = Case(monkeypatch, {("a.example.org", "A"): (["203.0.113.1"], 60.0)})
    answer = await case.ask("A.Example.org.")
    assert [str(record) for record in answer.answer[0]] == ["203.0.113.1"]
    assert case.admitted == [("a.example.org", ("203.0.113.1",), SHORTEST)]
    assert not (await case.ask("a.example.org", "AAAA")).answer
    assert not (await case.ask("a.example.org", "TXT")).answer
    assert len(case.admitted) == 1


async def test_other_names_do_not_exist_and_are_noted(monkeypatch):
    case = Case(monkeypatch, {("c.example.org", "A"): (["203.0.113.1"], 60.0)})
    for name in ("c.example.org", "x.a.example.org", "a.example.org.evil"):
        assert (await case.ask(name)).rcode() == dns.rcode.NXDOMAIN
    assert set(case.resolver.refused) == {"c.example.org", "x.a.example.org", "a.example.org.evil"}
    assert not case.admitted


async def test_time_to_live_is_bounded_on_both_sides(monkeypatch):
    zone = {("a.example.org", "A"): (["203.0.113.1"], 1.0), ("b.example.org", "A"): (["203.0.113.2"], 1e9)}
    found = await Case(monkeypatch, zone).resolver.find_all()
    assert (found["a.example.org"].seconds, found["b.example.org"].seconds) == (SHORTEST, LONGEST)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "::1", "169.254.169.254"])
async def test_a_name_that_turns_private_is_refused_and_told(monkeypatch, address):
    kind = "AAAA" if ":" in address else "A"
    case = Case(monkeypatch, {("a.example.org", kind): ([address], 60.0)})
    with pytest.raises(WindowError, match=address):
        await case.resolver.find_all()
    assert (await case.ask("a.example.org", kind)).rcode() == dns.rcode.SERVFAIL
    assert not case.admitted
    assert address in case.resolver.notes[0]
    allowed = Case(monkeypatch, case.zone, private=["a.example.org"])
    assert (await allowed.ask("a.example.org", kind)).answer


async def test_more_addresses_than_the_bound(monkeypatch):
    case = Case(monkeypatch, {("a.example.org", "A"): ([f"203.0.113.{n}" for n in range(5)], 60.0)})
    with pytest.raises(WindowError, match="5 addresses"):
        await case.resolver.find_all()


async def test_what_is_refused_is_bounded(monkeypatch):
    case = Case(monkeypatch, {})
    monkeypatch.setattr(module, "MAX_NAMES", 3)
    for number in range(9):
        await case.ask(f"n{number}.example.org")
    assert len(case.resolver.refused) == 3


def test_name_servers_with_and_without_a_port():
    assert str(module._nameserver("192.0.2.53")) == "Do53:192.0.2.53@53"
    assert module._nameserver("192.0.2.53:5353").port == 5353
    assert module._nameserver("[2001:db8::53]:5353").address == "2001:db8::53"
    assert module._nameserver("2001:db8::53").port == 53


@given(st.binary(max_size=200))
def test_any_bytes_get_an_answer_or_none(data):
    import asyncio

    resolver = Resolver({"a.example.org"}, private=[], limit=1, nameservers=["192.0.2.53"], admit=lambda *_: None)
    wire = asyncio.run(resolver.answer(data))
    assert wire is None or dns.message.from_wire(wire).rcode() != dns.rcode.NOERROR
