"""Control stanzas: what is not touched stays the text it was."""

from hypothesis import given
from hypothesis import strategies as st

from airlock.lock.apt_text import fields, installed_stanza, split_fields, with_field, without

names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,12}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30).map(str.strip)
continuations = st.lists(values.filter(bool).map(lambda text: f" {text}"), max_size=3)


@st.composite
def stanzas(draw: st.DrawFn) -> str:
    keys = draw(st.lists(names, min_size=1, max_size=8, unique_by=str.lower))
    lines = []
    for key in keys:
        lines += [f"{key}: {draw(values)}", *draw(continuations)]
    return "\n".join(lines) + "\n"


@given(stanzas())
def test_splitting_loses_nothing(stanza: str) -> None:
    assert "".join(text for _, text in split_fields(stanza)) == stanza


@given(stanzas(), values)
def test_replacing_a_field_leaves_the_others_and_their_order(stanza: str, value: str) -> None:
    before = dict(split_fields(stanza))
    chosen = next(iter(before))
    changed = with_field(stanza, chosen, value)
    assert fields(changed)[chosen] == value
    assert [name for name, _ in split_fields(changed)] == list(before)
    assert {k: v for k, v in split_fields(changed) if k != chosen} == {k: v for k, v in before.items() if k != chosen}


@given(stanzas())
def test_a_missing_field_is_appended(stanza: str) -> None:
    bare = without(stanza, {"filename"})
    assert with_field(bare, "Filename", "pool/x.deb") == bare + "Filename: pool/x.deb\n"


def test_what_describes_the_file_is_not_in_the_status_of_the_package() -> None:
    stanza = "Package: a\nVersion: 1\nDescription: short\n long\nSHA256: 00\nFilename: pool/a.deb\nSize: 3\n"
    assert installed_stanza(stanza) == (
        "Package: a\nStatus: install ok installed\nVersion: 1\nDescription: short\n long\n"
    )
