from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.kolla import dockerfile
from airlock.kolla.dockerfile import DockerfileError, parse

TEXT = """\
# a comment

FROM kolla/base:1
LABEL a="b c"
RUN true \\
# within

    && false   \\ \t
    && echo é \\
    && exit
ENV A b c
COPY --chown=1:1 a b /c/
"""


def test_every_byte_of_a_run_knows_its_physical_line():
    run = parse(TEXT)[2]
    assert run.name == "RUN"
    data = run.text.encode()
    assert [run.line_of(data.index(word)) for word in (b"true", b"false", b"echo", b"exit")] == [5, 8, 9, 10]


def test_instructions_come_in_order_with_flags_and_words():
    found = [(one.name, one.line, one.flags, one.words) for one in parse(TEXT)]
    assert found[3:] == [("ENV", 11, (), ("A", "b c")), ("COPY", 12, ("--chown=1:1",), ("a", "b", "/c/"))]


@pytest.mark.parametrize(
    "head", ["# syntax=evil.example.org/frontend", "#escape=`", "#  Check = skip", "\n# syntax=x", "# a\n# SYNTAX = x"]
)
def test_a_parser_directive_is_refused(head):
    with pytest.raises(DockerfileError, match="directive"):
        parse(f"{head}\nFROM a\n")


@pytest.mark.parametrize("character", ["\r", "\0", "\x0b", "\u00a0", "\u2028", "\u200b", "\u202e", "\ufeff"])
def test_control_and_unusual_space_characters_are_refused_with_their_line(character):
    with pytest.raises(DockerfileError) as caught:
        parse(f"FROM a\nRUN true\nRUN x{character}\n")
    assert caught.value.line == 3


@pytest.mark.parametrize("text", ["", "FROM a\nENV x\n", "FROM a\nENV a=b c\n"])
def test_what_is_no_dockerfile_is_refused(text):
    with pytest.raises(DockerfileError):
        parse(text)


def test_a_text_that_is_too_large_is_refused():
    with pytest.raises(DockerfileError, match="4 MiB"):
        parse("FROM a\n" + "#" * (4 << 20))


words = st.text(alphabet="abc/-_.", min_size=1, max_size=6).filter(lambda word: not word.startswith("--"))


@given(st.lists(words, min_size=1, max_size=8), st.data())
def test_a_run_split_into_lines_anywhere_reads_the_same_and_knows_its_lines(parts, data):
    lines = [parts[0]]
    expected = [2]
    for word in parts[1:]:
        gap = data.draw(st.sampled_from([" ", " \\\n ", " \\ \n\n ", " \\\n# comment\n ", " \\\n#\\\n  "]))
        lines.append(gap + word)
        expected.append(expected[-1] + gap.count("\n"))
    run = parse(f"FROM a\nRUN {''.join(lines)}\n")[1]
    assert run.text.split() == parts
    position = 0
    for word, line in zip(parts, expected, strict=True):
        position = run.text.index(word, position)
        assert run.line_of(position) == line
        position += len(word)


def read_without_go(text, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(dockerfile, "_go_parser", None)
        return parse(text)


def test_without_the_official_parser_the_same_is_read(monkeypatch):
    pytest.importorskip("dockerfile")  # wheels for x86_64 alone
    assert read_without_go(TEXT, monkeypatch) == parse(TEXT)


@pytest.mark.parametrize(
    "text",
    ["RUN --mount='x y' z", "RUN -- x", "COPY [1] /x", 'COPY ["a"] /x', "ENV a", "ENV a=b c", 'VOLUME ["\\ud800"]'],
)
def test_what_cannot_be_told_without_doubt_is_refused_with_its_line(text, monkeypatch):
    with pytest.raises(DockerfileError) as caught:
        read_without_go(f"FROM a\n\n{text}\n", monkeypatch)
    assert caught.value.line == 3


def test_what_may_be_a_here_document_is_marked(monkeypatch):
    found = read_without_go("FROM a\nRUN cat <<E\nFROM b\nE\nLABEL a=<<E\n", monkeypatch)
    assert [one.heredoc for one in found] == [False, True, False, False, False]


NAMES = "ADD arg CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER RUN SHELL".split()  # noqa: SIM905
NAMES += ["STOPSIGNAL", "USER", "VOLUME", "WORKDIR", "FOO", "&&"]
BLANKS = [" ", "  ", "\t", "\\", "\\\n", " \\ \n", "\n", "\n#x\n", "\\\n# y\n", "\\\\"]
PIECES = [*BLANKS, "a", "b=c", "=", "'", '"', "--", "--x=y", "[", "]", '["a", "b"]', ",", "$A", "é", "#", "NONE", "CMD"]


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(PIECES), max_size=9)), max_size=4))
def test_the_two_readings_agree_about_everything_that_is_not_refused_by_ours(instructions):
    go_parser = pytest.importorskip("dockerfile")
    text = "FROM a\n" + "".join(f"{name} {''.join(pieces)}\n" for name, pieces in instructions)
    reason = ""
    try:
        parse(text)
    except DockerfileError as error:
        reason = error.reason
    assert "official parser" not in reason
    assert "more than one way" not in reason
    if reason.startswith("not a Dockerfile"):
        with pytest.raises(go_parser.GoParseError):
            go_parser.parse_string(text)
