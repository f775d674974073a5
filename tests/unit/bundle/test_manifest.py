"""What a bundle says of itself: one form, strict where it must be, open to newer writers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from tests.bundle_samples import make_sample

from airlock.bundle.manifest import FileEntry, content_bytes, read_content, read_manifest
from airlock.core.digest import sha256_bytes
from airlock.core.errors import FormatError, IntegrityError


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    info = make_sample(tmp_path).bundle(tmp_path / "media")
    return json.loads((Path(info.path) / "MANIFEST.json").read_bytes())


def written(document: dict[str, Any]) -> bytes:
    return rfc8785.dumps(document) + b"\n"


def test_it_comes_back_to_the_same_bytes(document: dict[str, Any]) -> None:
    data = written(document)
    assert read_manifest(data).to_bytes() == data


def test_unknown_fields_are_passed_over(document: dict[str, Any]) -> None:
    more = document | {"colour": {"of": ["the", "media"]}, "delivery": {"kind": "full", "receipts": []}}
    assert read_manifest(written(more)) == read_manifest(written(document))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"critical_features": ["parts"], "minimum_reader": "2.5"}, r"airlock 2\.5 and newer.*'parts'"),
        ({"critical_features": ["parts"]}, r"it needs 'parts'"),
        ({"format": 2, "minimum_reader": "3.1"}, r"format 2, which airlock 3\.1"),
        ({"minimum_reader": "99.0"}, r"airlock 99\.0"),
        ({"minimum_reader": "soon"}, "not a version"),
        ({"delivery": {"kind": "delta"}}, "'delta' delivery"),
        ({"volumes": 2}, "2 volumes"),
    ],
)
def test_what_this_version_cannot_read_is_refused_by_name(
    document: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        read_manifest(written(document | changes))
    assert caught.value.exit_code == 13


def test_a_newer_format_is_told_even_if_nothing_else_of_it_parses() -> None:
    data = written({"format": 9, "minimum_reader": "9.0", "critical_features": ["all"], "files": "elsewhere"})
    with pytest.raises(FormatError, match=r"airlock 9\.0"):
        read_manifest(data)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "stream-r2"},
        {"id": "../r1"},
        {"serial": 0},
        {"serial": "1"},
        {"content_digest": "0" * 64},
        {"lock": "0" * 64},
        {"lock": "A" * 64},
        {"ledger_head": "0" * 63},
        {"files": []},
    ],
)
def test_what_contradicts_itself_is_refused(document: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises((FormatError, IntegrityError)):
        read_manifest(written(document | changes))


@pytest.mark.parametrize(
    "path",
    ["../out", "/abs", "pool/aa/x", "POOL/x", "MANIFEST.json", "manifest.JSON", "SHA256SUMS", "COMMITTED.json", "a\\b",
     "airlock.lock/x", "Airlock.lock", "x.part"],
)  # fmt: skip
def test_unsafe_reserved_and_clashing_paths_are_refused(document: dict[str, Any], path: str) -> None:
    entry = {"path": path, "sha256": "0" * 64, "size": 1}
    document["files"] = sorted([*document["files"], entry], key=lambda one: one["path"])
    with pytest.raises(IntegrityError):
        read_manifest(written(document))


def test_files_in_another_order_or_twice_are_refused(document: dict[str, Any]) -> None:
    for files in (document["files"][::-1], [document["files"][0], *document["files"]]):
        with pytest.raises((FormatError, IntegrityError)):
            read_manifest(written(document | {"files": files}))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 5000, b'{"format":1}', b"null"])
def test_what_is_no_manifest_is_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_manifest(data)


def test_the_same_value_in_another_form_is_refused(document: dict[str, Any]) -> None:
    for data in (json.dumps(document).encode(), rfc8785.dumps(document), written(document) + b"\n"):
        with pytest.raises(FormatError):
            read_manifest(data)


HASHES = st.binary(min_size=1, max_size=8).map(sha256_bytes)
ENTRIES = st.lists(
    st.builds(
        lambda sha256, ending, size: FileEntry(f"pool/{sha256[:2]}/{sha256}{ending}", sha256, size),
        HASHES, st.sampled_from(["", ".deb", ".whl", ".tar.gz"]), st.integers(0, 2**53 - 1),
    ),
    unique_by=lambda entry: entry.path,
)  # fmt: skip


@given(ENTRIES)
def test_content_comes_back_sorted(entries: list[FileEntry]) -> None:
    assert read_content(content_bytes(entries)) == tuple(sorted(entries))


@pytest.mark.parametrize(
    "path",
    [
        "pool/00/{0}",
        "pool/{1}/{0}x",
        "pool/{1}/{0}/x",
        "{0}",
        "pool/{1}/../{1}/{0}",
        "Pool/{1}/{0}",
        "pool/{1}/{0}.part",
    ],
)
def test_content_that_is_not_where_its_hash_says_is_refused(path: str) -> None:
    sha256 = sha256_bytes(b"1")
    entry = FileEntry(path.format(sha256, sha256[:2]), sha256, 1)
    with pytest.raises(IntegrityError):
        read_content(content_bytes([entry]))
