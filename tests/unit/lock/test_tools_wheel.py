"""Wheels whose bytes depend on their content alone."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import ToolError
from airlock.lock.tools_wheel import normalised, pack

NAMES = st.from_regex(r"[a-z]{1,6}(/[a-z,]{1,6})?", fullmatch=True)
FILES = st.dictionaries(NAMES, st.binary(max_size=50), max_size=5)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        return {info.filename: zipped.read(info) for info in zipped.infolist()}


@given(FILES)
def test_record_lists_every_file_with_its_hash(files):
    held = members(pack(files, "x-1.dist-info", {}))
    record = held.pop("x-1.dist-info/RECORD").decode()
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(record))}
    assert rows.pop("x-1.dist-info/RECORD") == ["", ""]
    assert held == files
    assert set(rows) == set(files)
    for name, (digest, size) in rows.items():
        wanted = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, int(size)) == (f"sha256={wanted}", len(files[name]))


@given(FILES, st.randoms())
def test_order_dates_and_compression_of_what_was_built_do_not_matter(files, random):
    def build(year: int, compression: int) -> bytes:
        entries = [*files.items(), ("x-1.dist-info/RECORD", b"old")]
        random.shuffle(entries)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", compression) as zipped:
            for name, data in entries:
                zipped.writestr(zipfile.ZipInfo(name, (year, 1, 2, 3, 4, 6)), data)
        return stream.getvalue()

    first = normalised(build(1999, zipfile.ZIP_STORED))
    assert normalised(build(2024, zipfile.ZIP_DEFLATED)) == first
    assert normalised(first) == first


def test_executable_files_stay_executable():
    data = pack({"x-1.data/scripts/run": b"#!"}, "x-1.dist-info", {"x-1.data/scripts/run": True})
    with zipfile.ZipFile(io.BytesIO(normalised(data))) as zipped:
        assert zipped.getinfo("x-1.data/scripts/run").external_attr >> 16 == 0o100755


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", pack({}, "x.dist-info", {})[:-30]])
def test_what_is_no_wheel_is_refused(data):
    with pytest.raises(ToolError):
        normalised(data)


def test_a_wheel_without_record_is_refused():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        zipped.writestr("a", b"")
    with pytest.raises(ToolError, match="RECORD"):
        normalised(stream.getvalue())
