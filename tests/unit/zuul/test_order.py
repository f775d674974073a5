from __future__ import annotations

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.zuul_roles import role_program

from airlock.evidence.asked import parse_details
from airlock.zuul.order import PARAMETER, Order

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)
COMMIT = "a" * 40
program = role_program("airlock-build", "airlock_build")


def order(**changes: str) -> Order:
    values = {"id": "1", "bundle": "x-r1", "reason": "why", "requester": "olga", "account": "root", "host": "site"}
    return Order(**(values | {"project": "openstack/kolla", "ref": "refs/heads/x", "commit": COMMIT} | changes))


@given(TEXT)
def test_what_travels_has_nothing_that_a_template_or_a_shell_would_read(reason):
    sent = order(reason=reason).parameters()
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", sent[PARAMETER])
    assert sent["reason"] == reason, "for people, under a name that no job declares"


@given(TEXT, TEXT)
def test_the_role_of_the_job_reads_it_as_it_was_said(reason, requester):
    sent = order(reason=reason, requester=requester, git="kolla")
    read = program.read_order(sent.parameters()[PARAMETER])
    given_ = program.argparse.Namespace(command="/airlock", site="/site", commit=COMMIT, detail=["buildset=b1"])
    words = program.arguments(read, given_)
    assert words[:4] == ["/airlock", "build", "--site=/site", "--bundle=x-r1"]
    assert f"--reason={reason}" in words
    assert f"--requester={requester}" in words
    assert f"--git=kolla={COMMIT}" in words
    assert all(word.startswith("--") for word in words[2:])


def test_what_the_role_adds_are_details_that_airlock_build_takes():
    given_ = program.argparse.Namespace(command="/airlock", site="/site", commit=COMMIT, detail=["buildset=b1"])
    read = program.read_order(order().parameters()[PARAMETER])
    words = [word.removeprefix("--detail=") for word in program.arguments(read, given_) if word.startswith("--detail=")]
    details = parse_details(words)
    assert details["buildset"] == "b1"
    assert details["commit"] == COMMIT
    assert details["ordered-by"] == "root@site"


@given(st.one_of(st.text(), st.binary(), st.dictionaries(st.text(), st.integers())))
def test_what_is_no_order_is_refused_in_one_line(text):
    data = json.dumps(text).encode() if isinstance(text, dict) else text.encode() if isinstance(text, str) else text
    encoded = base64.urlsafe_b64encode(data).decode()
    for sent in (encoded, data.decode("latin-1")):
        with pytest.raises(SystemExit) as ended:
            program.read_order(sent)
        assert ended.value.code == 2
