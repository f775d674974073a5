"""The verbs bundle, validate, verify, import and status, as typed: answers, exit codes, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from tests.bundle_samples import Sample, make_sample, make_site
from typer.testing import CliRunner, Result

from airlock.cli import bundle as bundle_module
from airlock.cli import validate as validate_module
from airlock.cli.bundle import bundle
from airlock.cli.import_ import import_
from airlock.cli.status import status
from airlock.cli.validate import validate
from airlock.cli.verify import verify
from airlock.lock.proof import Gap
from airlock.lock.stand_ins import Proven
from airlock.lock.validate import Proof

app = typer.Typer()
VERBS = {"bundle": bundle, "validate": validate, "verify": verify, "import": import_, "status": status}
for name, function in VERBS.items():
    app.command(name)(function)


def airlock(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


@pytest.fixture(autouse=True)
def proof(monkeypatch: pytest.MonkeyPatch) -> list[Gap]:
    """Gaps that the proof finds (none unless a test adds some): this lock is none that Kolla could render."""
    gaps: list[Gap] = []

    async def prove(*_: object) -> Proof:
        return Proof(tuple(gaps), 1, 2, 6, 1000, Proven(1, 0, {}))

    monkeypatch.setattr(bundle_module, "validate", prove)
    monkeypatch.setattr(validate_module, "prove", prove)
    return gaps


def test_the_way_from_lock_to_site(sample: Sample, tmp_path: Path) -> None:
    media, site = tmp_path / "media", make_site(tmp_path / "site")
    written = airlock("bundle", "--factory", sample.factory.root, "--media", media, sample.definition.path)
    assert written.exit_code == 0, written.output
    digest = written.stdout.split("manifest  ")[1][:64]
    assert "stream-r1: written" in written.stdout
    told = "1 image proven on real inputs, 0 against stand-ins"
    assert told in written.stdout
    assert told in (media / "stream-r1/README.txt").read_text("utf-8")
    again = airlock("bundle", "--factory", sample.factory.root, "--media", media, sample.definition.folder)
    assert "complete already; nothing was written" in again.stdout
    checked = airlock("verify", media / "stream-r1")
    assert checked.exit_code == 0
    assert told in checked.stdout
    assert f"manifest  {digest}" in checked.stdout
    brought = airlock("import", "--site", site.root, "--expect", digest, media / "stream-r1")
    assert brought.exit_code == 0, brought.output
    assert "(as expected)" in brought.stdout
    assert "nothing to do" in airlock("import", "--site", site.root, media / "stream-r1").stdout
    shown = airlock("status", "--site", site.root / "site.toml", "--check")
    assert shown.exit_code == 0
    assert "bundle    stream-r1  imported 2" in shown.stdout


def test_every_answer_is_one_json_document(sample: Sample, tmp_path: Path) -> None:
    media, site = tmp_path / "media", make_site(tmp_path / "site")
    one = airlock("bundle", "--factory", sample.factory.root, "--media", media, sample.definition.path, "--json")
    two = airlock("verify", media / "stream-r1", "--json")
    three = airlock("import", "--site", site.root, media / "stream-r1", "--json")
    four = airlock("status", "--site", site.root, "--json")
    found = [json.loads(result.stdout) for result in (one, two, three, four)]
    assert found[0]["manifest"] == found[1]["manifest"] == found[2]["manifest"] == found[3]["bundles"][0]["manifest"]
    assert found[1]["content"]["files"] == 6
    assert found[0]["proven"] == found[1]["proven"] == {"real": 1, "stand_ins": 0, "against": {}}


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_a_fault_is_one_message_with_remedy_and_its_code(sample: Sample, tmp_path: Path, as_json: list[str]) -> None:
    folder = Path(sample.bundle(tmp_path / "media").path)
    next(folder.glob("pool/*/*.deb")).unlink()
    gone = airlock("verify", folder, *as_json)
    assert gone.exit_code == 9
    (folder / "more").write_bytes(b"")
    added = airlock("verify", folder, *as_json)
    assert added.exit_code == 7
    for result in (gone, added):
        assert "Traceback" not in result.output
        if as_json:
            document = json.loads(result.stdout)
            assert document["exit_code"] == result.exit_code
            assert document["remedy"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["verify", "nowhere"], 2), (["import", "--site", "nowhere", "x"], 2), (["status", "--site", "nowhere"], 2)],
)
def test_what_is_not_there_is_a_usage_error(arguments: list[str], code: int) -> None:
    assert airlock(*arguments).exit_code == code


def test_a_bundle_without_lock_says_what_to_run(sample: Sample, tmp_path: Path) -> None:
    sample.definition.lock_path.unlink()
    result = airlock("bundle", "--factory", sample.factory.root, "--media", tmp_path, sample.definition.path)
    assert result.exit_code == 2
    assert "airlock lock" in result.output


def test_what_is_not_proved_complete_never_reaches_the_media(sample: Sample, tmp_path: Path, proof: list[Gap]) -> None:
    proof.append(Gap("image keystone (x86_64), line 7", "asks for what nobody locked", "Run `airlock lock`."))
    result = airlock("bundle", "--factory", sample.factory.root, "--media", tmp_path / "media", sample.definition.path)
    assert result.exit_code == 9
    assert "line 7" in result.output
    assert not (tmp_path / "media").exists()


def test_a_proof_with_gaps_is_one_json_document_too(sample: Sample, proof: list[Gap]) -> None:
    proof.append(Gap("image keystone (x86_64), line 7", "asks for what nobody locked", "Run `airlock lock`."))
    result = airlock("validate", "--factory", sample.factory.root, sample.definition.path, "--json")
    assert result.exit_code == 9
    (gap,) = json.loads(result.stdout)["gaps"]
    assert gap["where"] == "image keystone (x86_64), line 7"


def test_gaps_come_first_on_the_terminal_and_in_the_page(sample: Sample, proof: list[Gap], tmp_path: Path) -> None:
    proof.append(Gap("image keystone (x86_64), line 7", "is not there", "Fetch it."))
    written = tmp_path / "proof.html"
    result = airlock("validate", "--factory", sample.factory.root, sample.definition.path, "--html", written)
    assert result.exit_code == 9
    assert result.stdout.splitlines()[0] == "  image keystone (x86_64), line 7: is not there"
    assert "1 GAP" in result.stdout
    text = written.read_text("utf-8")
    assert "1 gap: this must not leave" in text
    assert text.index("Fetch it.") < text.index("What is carried")
