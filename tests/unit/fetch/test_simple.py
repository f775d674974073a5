"""Simple pages: PEP 503, 592, 658, 691, 700, 714."""

from __future__ import annotations

import contextlib
import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import FormatError
from airlock.fetch.simple import JSON_TYPE, ProjectFile, parse_page, rewrite_page

PAGE = "http://mirror.example.org/simple/demo/"
SHA = "ab" * 32

filenames = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,30}\.(whl|tar\.gz)", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
files = st.builds(
    ProjectFile,
    filename=filenames,
    sha256=digests,
    size=st.integers(0, 2**40),
    requires_python=st.sampled_from(["", ">=3.8", "!=3.0.*,>=2.7", '<4 & "odd"']),
    upload_time=st.sampled_from(["", "2024-01-01T00:00:00.000000Z"]),
    yanked=st.booleans(),
    url=filenames.map(lambda name: "http://mirror.example.org/packages/" + name),
    metadata=st.none() | st.just("") | digests,
)


def as_json(listed: list[ProjectFile]) -> bytes:
    found = []
    for file in listed:
        metadata = {None: False, "": True}.get(file.metadata, {"sha256": file.metadata})
        entry = {"filename": file.filename, "url": file.url, "hashes": {"sha256": file.sha256}, "size": file.size}
        entry |= {"requires-python": file.requires_python or None, "yanked": file.yanked, "core-metadata": metadata}
        found.append(entry | ({"upload-time": file.upload_time} if file.upload_time else {}))
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": found}).encode()


def as_html(listed: list[ProjectFile]) -> bytes:
    lines = []
    for file in listed:
        attributes = f' data-requires-python="{html.escape(file.requires_python)}"' if file.requires_python else ""
        attributes += ' data-yanked=""' if file.yanked else ""
        if file.metadata is not None:
            attributes += f' data-core-metadata="{"sha256=" + file.metadata if file.metadata else "true"}"'
        lines.append(f'<a href="{file.url}#sha256={file.sha256}"{attributes}>{file.filename}</a><br/>')
    return ("<!DOCTYPE html><html><body>" + "\n".join(lines) + "</body></html>").encode()


@given(st.lists(files))
def test_json_pages_are_read_in_full(listed):
    assert parse_page(as_json(listed), JSON_TYPE + "; charset=utf-8", "demo", PAGE) == listed


@given(st.lists(files))
def test_html_pages_say_the_same_but_for_size_and_date(listed):
    read = parse_page(as_html(listed), "text/html", "demo", PAGE)
    named = [file.url.rpartition("/")[2] for file in listed]  # PEP 503: the name is the last part of the address
    assert [
        (file.filename, file.sha256, file.requires_python, file.yanked, file.url, file.metadata) for file in read
    ] == [
        (name, file.sha256, file.requires_python, file.yanked, file.url, file.metadata)
        for name, file in zip(named, listed, strict=True)
    ]


@given(st.lists(files), st.sampled_from([as_json, as_html]))
def test_a_rewritten_page_says_the_same_with_other_addresses(listed, form):
    kind = JSON_TYPE if form is as_json else "text/html"
    original = parse_page(form(listed), kind, "demo", PAGE)
    rewritten = rewrite_page(form(listed), kind, "demo", "http://127.0.0.1:1/pypi/files/demo")
    assert b"mirror.example.org" not in rewritten
    read = parse_page(rewritten, JSON_TYPE, "demo", PAGE)
    assert [(one.filename, one.sha256, one.size, one.yanked, one.metadata) for one in read] == [
        (one.filename, one.sha256, one.size, one.yanked, one.metadata) for one in original
    ]


@given(st.binary(), st.sampled_from([JSON_TYPE, "text/html", "application/json", ""]))
def test_anything_else_is_refused_in_words_or_read_as_an_empty_page(data, kind):
    for read in (lambda: parse_page(data, kind, "demo", PAGE), lambda: rewrite_page(data, kind, "demo", "x")):
        with contextlib.suppress(FormatError):  # nothing else may be raised
            read()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b"], ids=["empty", "dot", "parent", "slash"])
def test_names_that_are_no_file_names_are_left_out(name):
    data = json.dumps({"meta": {}, "files": [{"filename": name, "url": "x", "hashes": {}}]}).encode()
    assert parse_page(data, JSON_TYPE, "demo", PAGE) == []
    assert json.loads(rewrite_page(data, JSON_TYPE, "demo", "x"))["files"] == []


def test_relative_addresses_start_at_the_page():
    data = f'<a href="../../packages/d/demo-1.tar.gz#sha256={SHA}">demo-1.tar.gz</a>'.encode()
    [file] = parse_page(data, "text/html", "demo", PAGE)
    assert file.url == "http://mirror.example.org/packages/d/demo-1.tar.gz"


def test_hashes_other_than_sha256_do_not_count():
    data = b'<a href="demo-1.tar.gz#md5=00">demo-1.tar.gz</a>'
    assert parse_page(data, "text/html", "demo", PAGE)[0].sha256 == ""


def test_a_newer_major_version_is_refused_and_a_newer_minor_one_read():
    meta = '<meta name="pypi:repository-version" content="{}"><a href="demo-1.tar.gz">x</a>'
    assert len(parse_page(meta.format("1.9").encode(), "text/html", "demo", PAGE)) == 1
    with pytest.raises(FormatError, match="version"):
        parse_page(meta.format("2.0").encode(), "text/html", "demo", PAGE)
