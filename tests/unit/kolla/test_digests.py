from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import FormatError
from airlock.kolla.digests import context_digest, dockerfile_digest, normalise_dockerfile

names = st.text(alphabet="abcABC.-_é", min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..", "Dockerfile")
)
trees = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map(tuple), st.tuples(st.binary(max_size=20), st.booleans()), max_size=6
).filter(lambda tree: not any(a != b and a == b[: len(a)] for a in tree for b in tree))


def write_tree(folder: Path, tree: dict[tuple[str, ...], tuple[bytes, bool]], *, mask: int = 0, when: int = 0) -> Path:
    folder.mkdir()
    for parts, (data, executable) in tree.items():
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod((0o777 if executable else 0o666) & ~mask)
        os.utime(path, (when, when))
    return folder


@given(st.binary())
def test_normalising_twice_is_normalising_once(data: bytes) -> None:
    once = normalise_dockerfile(data)
    assert normalise_dockerfile(once) == once


@given(st.lists(st.text(alphabet="RUN a\\ '\"#=", max_size=20)))
def test_line_ends_do_not_count_and_everything_else_does(lines: list[str]) -> None:
    text = "\n".join(lines).rstrip("\n").encode() + b"\n"
    assert normalise_dockerfile(text) == text
    assert dockerfile_digest(text.replace(b"\n", b"\r\n")) == dockerfile_digest(text)
    assert dockerfile_digest(text + b"RUN true\n") != dockerfile_digest(text)
    assert dockerfile_digest(b" " + text) != dockerfile_digest(text)


@given(tree=trees)
def test_umask_and_clock_do_not_count(tmp_path_factory: pytest.TempPathFactory, tree: dict) -> None:
    place = tmp_path_factory.mktemp("t")
    one = write_tree(place / "one", tree, mask=0o022, when=0)
    two = write_tree(place / "two", dict(reversed(tree.items())), mask=0o077, when=1_700_000_000)
    assert context_digest(one, dockerfile=True) == context_digest(two, dockerfile=True)


@given(tree=trees.filter(bool), data=st.data())
def test_every_name_mode_and_byte_counts(
    tmp_path_factory: pytest.TempPathFactory, tree: dict, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("t")
    before = context_digest(write_tree(place / "one", tree), dockerfile=False)
    name = data.draw(st.sampled_from(sorted(tree)))
    content, executable = tree[name]
    change = data.draw(st.sampled_from(["byte", "mode", "name", "gone"]))
    other = dict(tree)
    if change == "byte":
        other[name] = (content + b"x", executable)
    elif change == "mode":
        other[name] = (content, not executable)
    else:
        del other[name]
        if change == "name":
            other[(*name[:-1], name[-1] + "+")] = (content, executable)
    assert context_digest(write_tree(place / "two", other), dockerfile=False) != before


def test_the_dockerfile_counts_only_when_asked(tmp_path: Path) -> None:
    (tmp_path / "start.sh").write_text("true\n")
    empty = context_digest(tmp_path, dockerfile=False)
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert context_digest(tmp_path, dockerfile=False) == empty
    assert context_digest(tmp_path, dockerfile=True) != empty
    (tmp_path / "sub").mkdir()
    with_folder = context_digest(tmp_path, dockerfile=False)
    (tmp_path / "sub/Dockerfile").write_text("FROM scratch\n")
    assert with_folder != empty
    assert context_digest(tmp_path, dockerfile=False) != with_folder


def test_a_link_counts_by_where_it_leads_and_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("one")
    before = context_digest(tmp_path, dockerfile=False)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert context_digest(tmp_path, dockerfile=False) != before


def test_a_socket_or_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FormatError, match="fifo"):
        context_digest(tmp_path, dockerfile=False)
