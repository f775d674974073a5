from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from airlock.cli.audit import audit
from airlock.core.errors import ChainError, FormatError, UsageError
from airlock.evidence.ledger import append
from airlock.evidence.record import write_record

app = typer.Typer()
app.command()(audit)


@pytest.fixture
def site(records, tmp_path):
    root = tmp_path / "site"
    root.mkdir()
    (root / "site.toml").write_text('name = "ours"\n')
    write_record(root / "records" / "b1", records.make())
    append(root / "ledger.jsonl", "build", {"build": "b1"})
    return root


def run(*arguments, **environment):
    runner = CliRunner(env={"AIRLOCK_SITE": None, "AIRLOCK_FACTORY": None, **environment})
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_which_images_hold_a_file(site, records):
    result = run("--site", site, "--holds", "libc6_2.36-9_amd64.deb")
    assert result.exit_code == 0, result.output
    assert "in 2 images of 1 build; 1 build record asked" in result.stdout
    assert records.make().images[1].digest in result.stdout


def test_json_answers_everything_in_one_document(site):
    result = run("--site", site, "--holds", "libc6", "--build", "b1", "--json")
    document = json.loads(result.stdout)
    assert document["ledger"]["entries"] == 1
    assert document["build"]["trigger"]["user"] == "ada"
    assert [found["image"] for found in document["holds"]] == ["base", "keystone"]


def test_who_triggered_a_build(site):
    result = run("--site", site, "--build", "b1")
    assert "who       ada on builder" in result.stdout
    assert "why       CVE-2024-0001" in result.stdout


def test_what_nobody_holds_is_said_and_is_no_error(site):
    result = run("--site", site, "--holds", "nothing-like-this")
    assert result.exit_code == 0
    assert "in 0 images" in result.stdout


def test_a_broken_chain_has_its_exit_code(site):
    ledger = site / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"b1"', b'"b2"'))
    result = run("--site", site)
    assert result.exit_code == ChainError.exit_code
    assert "line 1" in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_a_record_that_cannot_be_asked_is_never_passed_over_in_silence(site, as_json):
    (site / "records" / "b2").mkdir()
    (site / "records" / "b2" / "record.json").write_text("{")
    result = run("--site", site, "--holds", "libc6", *(["--json"] if as_json else []))
    assert result.exit_code == FormatError.exit_code
    assert "base" in result.stdout
    if as_json:
        assert len(json.loads(result.stdout)["unreadable"]) == 1
    else:
        assert "b2" in result.stderr


def test_a_factory_has_a_ledger_but_no_builds_to_ask(tmp_path):
    append(tmp_path / "ledger.jsonl", "bundle", {"bundle": "r1"})
    result = run("--factory", tmp_path)
    assert result.exit_code == 0
    assert "bundle 1" in result.stdout
    assert run("--factory", tmp_path, "--holds", "x").exit_code == UsageError.exit_code


def test_the_command_line_wins_over_the_environment_and_both_at_once_are_an_error(site, tmp_path):
    assert run("--factory", tmp_path, AIRLOCK_SITE=str(site)).stdout.startswith(f"ledger    {tmp_path}/ledger.jsonl")
    assert run(AIRLOCK_SITE=str(site), AIRLOCK_FACTORY=str(tmp_path)).stdout.startswith(f"ledger    {site}")
    assert run("--factory", tmp_path, "--site", site).exit_code == UsageError.exit_code


def test_without_a_name_what_lies_here_is_meant(site, tmp_path, monkeypatch):
    monkeypatch.chdir(site)
    assert run().exit_code == 0
    (tmp_path / "elsewhere" / "factory").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "factory/ledger.jsonl: 0 entries" in run().stdout
    monkeypatch.chdir(tmp_path / "elsewhere" / "factory")
    assert run().exit_code == UsageError.exit_code
