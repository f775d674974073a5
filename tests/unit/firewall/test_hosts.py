"""Which hosts a window is for: names out of the settings, and what is none."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import UsageError
from airlock.core.settings import FactoryFile, UpstreamTable, WindowTable
from airlock.firewall import hosts


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


def places(found: hosts.Wanted) -> list[str]:
    return [f"{host.name}:{host.port}" for host in found.hosts]


def test_addresses_redirects_and_further_hosts_each_once_with_who_leads_there():
    settings = FactoryFile(
        upstreams={
            "debian": UpstreamTable(address="http://a.example.org", hosts=["b.example.org", "c.example.org:8080"])
        },
        window=WindowTable(hosts=["d.example.org"]),
    )
    found = hosts.wanted({"debian": "http://a.example.org", "pypi": "https://d.example.org/simple"}, settings)
    assert places(found) == ["a.example.org:80", "b.example.org:80", "c.example.org:8080", "d.example.org:443"]
    assert found.hosts[3].upstreams == ["pypi"]


def test_upstreams_on_this_machine_take_no_host():
    found = hosts.wanted(
        {"nexus": "http://127.0.0.1:8081/x", "six": "http://[::1]:90/", "l": "http://localhost/"}, FactoryFile()
    )
    assert (places(found), found.local) == ([], frozenset({8081, 90, 80}))


def test_where_a_proxy_stands_between_the_proxy_is_opened_and_told(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://ada:secret@proxy.example.org:3128")
    found = hosts.wanted({"pypi": "https://index.example.org/simple"}, FactoryFile())
    assert places(found) == ["proxy.example.org:3128"]
    assert ("index.example.org", 443) in found.named
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    "name", ["192.0.2.1", "[2001:db8::1]", "2001:db8::1", "*.example.org", ".example.org", "a b", "", "-a"]
)
def test_what_is_no_name_is_refused_with_its_place(name):
    with pytest.raises(UsageError, match="somewhere"):
        hosts.check_name(name, "somewhere")


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_an_error(text):
    try:
        name, port = hosts.parse_host(text, "here")
    except UsageError:
        return
    assert name == name.lower()
    assert 0 < port < 65536
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("172.31.0.1", True), ("192.168.0.1", True), ("169.254.169.254", True),
        ("100.64.0.1", True), ("0.0.0.0", True), ("224.0.0.1", True), ("::1", True), ("::", True), ("fe80::1", True),
        ("fd00::1", True), ("::ffff:10.0.0.1", True), ("64:ff9b::a00:1", True), ("93.184.216.34", False),
        ("2606:2800::1", False), ("::ffff:93.184.216.34", False), ("203.0.113.1", False),
        ("198.18.0.1", True), ("2002:a00:1::1", True), ("2002:5db8:d822::1", False), ("::a00:1", True),
        ("fec0::1", True), ("64:ff9b::5db8:d822", False), ("64:ff9b:1::1", True),
    ],
)  # fmt: skip
def test_private_space(address, private):
    assert hosts.is_private(address) is private


@given(st.ip_addresses())
def test_every_address_is_one_or_the_other(address):
    found = hosts.is_private(str(address))
    if address.is_loopback or address.is_link_local or address.is_multicast:
        assert found
    if isinstance(address, ipaddress.IPv4Address) and address.is_global and not address.is_multicast:
        assert not found


def test_a_part_can_be_chosen_and_nothing_else():
    settings = FactoryFile(window=WindowTable(hosts=["a.example.org", "b.example.org:80"]))
    found = hosts.wanted({}, settings)
    assert places(hosts.only(found, ["b.example.org", "b.example.org"])) == ["b.example.org:80"]
    with pytest.raises(UsageError, match="do not name this host"):
        hosts.only(found, ["b.example.org:443"])
