"""An address that is locked is replaced wherever a Dockerfile has it, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import UnclassifiedError
from airlock.kolla.redirect import lead_clients, redirect

URL = "https://files.example.org/a/v1.2/tool-amd64.tgz"
THERE = "http://mirror.airlock.internal/pool/ab/abc/tool-amd64.tgz"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"RUN curl -o /t {URL}", f"RUN curl -o /t {THERE}"),
        (f"RUN curl -o /t '{URL}' && true", f"RUN curl -o /t '{THERE}' && true"),
        (f"RUN curl -o /t {URL} \\\n  && tar x {URL}.sig", f"RUN curl -o /t {THERE} \\\n  && tar x {URL}.sig"),
        (f"RUN curl -o /t ${{PLACE:-{URL}}}", f"RUN curl -o /t ${{PLACE:-{THERE}}}"),
        (
            "ARG version=1.2\nARG url=https://files.example.org/a/v${version}/tool-amd64.tgz\nRUN curl -o /t ${url}",
            f"ARG version=1.2\nARG url={THERE}\nRUN curl -o /t ${{url}}",
        ),
        ("arg v=1.2\narg u=https://files.example.org/a/v$v/tool-amd64.tgz\n", f"arg v=1.2\narg u={THERE}\n"),
    ],
)
def test_an_address_is_replaced_where_it_stands(before, after):
    assert redirect(f"FROM a\n{before}", {URL: THERE}, "i") == f"FROM a\n{after}"


@pytest.mark.parametrize("text", ["RUN curl $x", f"RUN curl {URL}x", 'ARG url="https://files.example.org/"a/v1.2'])
def test_an_address_that_is_not_found_is_an_error_and_not_passed_over(text):
    with pytest.raises(UnclassifiedError, match=r"image i: https://files\.example\.org/a/v1\.2/tool-amd64\.tgz"):
        redirect(f"FROM a\n{text}", {URL: THERE}, "i")


@given(st.text(alphabet="abc/$ {}\n\\='\".:-", max_size=200))
def test_a_text_without_the_address_stays_as_it_is(text):
    assert redirect(text, {}, "i") == text
    assert redirect(f"{text}\nRUN curl {URL}", {URL: THERE}, "i") == f"{text}\nRUN curl {THERE}"


ROOM = "http://mirror.airlock.internal/galaxy/0f"
INSTALL = "ansible-galaxy collection install"
LED = f"{INSTALL} --server {ROOM}/api/"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"RUN {INSTALL} a.b", f"RUN {LED} a.b"),
        (f"RUN if \\\n{INSTALL} -r /r.yml \\\n; then x; fi", f"RUN if \\\n{LED} -r /r.yml \\\n; then x; fi"),
        (f"RUN bash -c '$VENV/bin/{INSTALL} a.b'", f"RUN bash -c '$VENV/bin/{LED} a.b'"),
        (f"# {INSTALL} a.b\nRUN {INSTALL} c.d", f"# {INSTALL} a.b\nRUN {LED} c.d"),
    ],
)
def test_a_program_is_told_where_its_index_is(before, after):
    assert lead_clients(f"FROM a\n{before}", {"galaxy": (ROOM, 1)}, "i") == f"FROM a\n{after}"


def test_words_on_two_lines_stay_on_two_lines():
    text = "RUN ansible-galaxy \\\n  collection install a.b"
    assert lead_clients(text, {"galaxy": (ROOM, 1)}, "i") == text.replace("install", f"install --server {ROOM}/api/")


@pytest.mark.parametrize(
    "text", ["RUN true", f"# {INSTALL} a.b", f"RUN my-{INSTALL} a.b", "RUN ansible-galaxy 'collection' install a"]
)
def test_a_command_that_is_not_found_is_an_error_and_not_passed_over(text):
    with pytest.raises(UnclassifiedError, match="image i: galaxy is locked, but where"):
        lead_clients(f"FROM a\n{text}", {"galaxy": (ROOM, 1)}, "i")
    with pytest.raises(UnclassifiedError, match="image i: galaxy"):
        lead_clients(f"FROM a\nRUN {INSTALL} a.b\n{text}", {"galaxy": (ROOM, 2)}, "i")


SERVER = "hkp://keys.example.org:80"
RECEIVE = f"gpg --keyserver {SERVER} \\\n       \\\n   --recv-keys"


def test_a_key_comes_from_the_mirror_and_gpg_has_it_as_if_received():
    before = f"FROM a\nRUN mkdir /k && {RECEIVE} ABCD1234 \\\n && gpg --export ABCD1234 >/k/a.gpg"
    after = redirect(before, {f"{SERVER} ABCD1234": THERE}, "base")
    assert f"curl -qfsS {THERE} -o ~/.gnupg/key.asc && gpg --dearmor" in after
    assert after.endswith("&& gpg --export ABCD1234 >/k/a.gpg")
    assert "keyserver" not in after


@pytest.mark.parametrize("text", [f"RUN {RECEIVE} ABCD12345", "RUN true", "RUN gpg --keyserver x --recv-keys ABCD1234"])
def test_a_key_whose_command_is_not_found_is_an_error(text):
    with pytest.raises(UnclassifiedError, match="image base: .*ABCD1234 is locked"):
        redirect(f"FROM a\n{text}", {f"{SERVER} ABCD1234": THERE}, "base")
