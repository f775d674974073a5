from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from airlock.cli.compare import compare
from airlock.core.errors import DifferenceError, FormatError
from airlock.evidence.record import write_record

app = typer.Typer()
app.command()(compare)


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def pair(records, tmp_path):
    left = records.make()
    right = records.with_image(records.make("b2"), "keystone", digest="sha256:y", diff_ids=["sha256:l0", "sha256:q"])
    write_record(tmp_path / "left", left)
    write_record(tmp_path / "right", right)
    return tmp_path / "left", tmp_path / "right"


def test_the_same_record_is_the_same_and_the_exit_code_says_so(pair):
    left, _ = pair
    result = run(left, left / "record.json")
    assert result.exit_code == 0, result.output
    assert "2 images, bit for bit the same" in result.stdout


def test_a_difference_has_its_exit_code_and_names_the_image_and_the_layer(pair):
    result = run(*pair)
    assert result.exit_code == DifferenceError.exit_code
    assert "first difference: layer 2 of 2/3" in result.stdout
    assert "1 of 2 images differ: keystone" in result.stderr


def test_json_is_one_document_also_when_they_differ(pair):
    result = run(*pair, "--json")
    assert result.exit_code == DifferenceError.exit_code
    document = json.loads(result.stdout)
    assert document["same"] is False
    assert [image["same"] for image in document["images"]] == [True, False]


def test_two_builds_without_images_are_an_error_not_a_success(records, tmp_path):
    write_record(tmp_path / "a", records.make(images=[]))
    result = run(tmp_path / "a", tmp_path / "a")
    assert result.exit_code == DifferenceError.exit_code
    assert "nothing to compare" in result.stderr


@pytest.mark.parametrize("data", [None, b"", b"{}", b"\xff\xfe", b'{"format": 1}'])
def test_what_is_no_record_is_one_message(pair, tmp_path, data):
    path = tmp_path / "bad.json"
    if data is not None:
        path.write_bytes(data)
    result = run(pair[0], path)
    assert result.exit_code == FormatError.exit_code
    assert "bad.json" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_long_list_is_cut_for_people_and_says_so(records, tmp_path):
    write_record(tmp_path / "a", records.make())
    write_record(tmp_path / "b", records.make("b2", git={f"repository{number}": "x" for number in range(50)}))
    result = run(tmp_path / "a", tmp_path / "b")
    assert "30 more (--json shows all)" in result.stdout
