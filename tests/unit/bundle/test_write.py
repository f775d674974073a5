"""Writing a bundle: complete by coreutils, the same bytes each time, resumable, never two things under one id."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from tests.bundle_samples import QUIET, Sample, make_sample, tree, write_indexes, write_lock

from airlock.bundle.make import make_bundle
from airlock.bundle.verify import verify_bundle
from airlock.core.digest import sha256_bytes, sha256_file
from airlock.core.errors import (
    DefinitionError,
    FormatError,
    IncompleteError,
    IntegrityError,
    SpaceError,
    StateError,
    UsageError,
)
from airlock.definition.load import load_definition
from airlock.evidence import ledger
from airlock.lock.model import make_lock


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


def relocked(sample: Sample, note: str) -> Sample:
    """The same artifacts, but another lock."""
    demands = [msgspec.structs.replace(one, note=note) for one in sample.lock.demands]
    lock = make_lock(
        release=sample.lock.header.release,
        definition=sample.definition.digest,
        kolla=sample.lock.header.kolla,
        witness=sample.lock.header.witness,
        requires=sample.lock.header.requires,
        images=sample.lock.images,
        demands=demands,
        artifacts=sample.lock.artifacts,
    )
    write_lock(sample.definition, lock)
    write_indexes(sample.factory, lock)
    return Sample(sample.factory, sample.definition, lock)


def test_the_folder_is_as_the_format_says(sample: Sample, tmp_path: Path) -> None:
    info = sample.bundle(tmp_path / "media")
    folder = tmp_path / "media" / "stream-r1"
    found = tree(folder)
    assert info.path == str(folder)
    assert found["airlock.lock"] == sample.lock.to_bytes()
    assert found["definition/release.toml"] == sample.definition.files["release.toml"]
    assert "indexes/apt/debian/dists/bookworm/main/binary-amd64/Packages" in found
    for artifact in sample.lock.artifacts:
        ending = ".tar.gz" if artifact.file.endswith(".tar.gz") else Path(artifact.file).suffix
        assert sha256_bytes(found[f"pool/{artifact.sha256[:2]}/{artifact.sha256}{ending}"]) == artifact.sha256
    manifest = json.loads(found["MANIFEST.json"])
    assert manifest["content_digest"] == sha256_bytes(found["CONTENT.jsonl"]) == info.content_digest
    assert info.manifest == sha256_bytes(found["MANIFEST.json"])
    assert info.files == len(found)
    assert info.size == info.written == sum(map(len, found.values()))


def test_sha256sum_alone_is_a_complete_check(sample: Sample, tmp_path: Path) -> None:
    folder = Path(sample.bundle(tmp_path / "media").path)
    command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    checked = {line.rpartition(": ")[0] for line in done.stdout.splitlines()}
    assert checked == tree(folder).keys() - {"SHA256SUMS"}


def test_once_more_writes_nothing(sample: Sample, tmp_path: Path) -> None:
    media = tmp_path / "media"
    first = sample.bundle(media)
    before = {path: path.stat().st_mtime_ns for path in media.rglob("*")}
    lines = len(list(ledger.entries(sample.factory.ledger)))
    again = sample.bundle(media)
    assert again == msgspec.structs.replace(first, written=0, already=True)
    assert {path: path.stat().st_mtime_ns for path in media.rglob("*")} == before
    assert len(list(ledger.entries(sample.factory.ledger))) == lines


def test_the_same_lock_is_the_same_bundle_on_every_media(sample: Sample, tmp_path: Path) -> None:
    one = sample.bundle(tmp_path / "one")
    relocked(sample, "another in between").bundle(tmp_path / "one")
    write_lock(sample.definition, sample.lock)
    two = sample.bundle(tmp_path / "two")
    assert tree(Path(one.path)) == tree(Path(two.path))


def test_what_is_damaged_on_the_media_is_written_again_and_nothing_else(sample: Sample, tmp_path: Path) -> None:
    info = sample.bundle(tmp_path / "media")
    folder = Path(info.path)
    whole = tree(folder)
    victim = next(folder.glob("pool/*/*.deb"))
    victim.write_bytes(bytes(len(victim.read_bytes())))
    (folder / "README.txt").unlink()
    again = sample.bundle(tmp_path / "media")
    assert tree(folder) == whole
    assert again.written == victim.stat().st_size + len(whole["README.txt"])


def test_a_changed_lock_or_definition_gets_the_next_serial(sample: Sample, tmp_path: Path) -> None:
    media = tmp_path / "media"
    assert sample.bundle(media).id == "stream-r1"
    assert relocked(sample, "why").bundle(media).id == "stream-r2"
    write_lock(sample.definition, sample.lock)
    assert sample.bundle(media).id == "stream-r1"


def test_another_stream_counts_for_itself(sample: Sample, tmp_path: Path) -> None:
    assert sample.bundle(tmp_path / "media").id == "stream-r1"
    assert make_sample(tmp_path, name="other").bundle(tmp_path / "media").id == "other-r1"


def test_a_lost_list_of_serials_is_made_again_from_the_ledger(sample: Sample, tmp_path: Path) -> None:
    first = sample.bundle(tmp_path / "media")
    serials = sample.factory.state / "serials.json"
    known = serials.read_bytes()
    serials.unlink()
    assert sample.bundle(tmp_path / "media").already
    assert relocked(sample, "why").bundle(tmp_path / "media").id == "stream-r2"
    assert json.loads(serials.read_bytes())["stream"][0] == json.loads(known)["stream"][0]
    assert first.id == "stream-r1"


def test_a_broken_list_of_serials_is_an_error_with_a_remedy(sample: Sample, tmp_path: Path) -> None:
    sample.factory.state.mkdir(parents=True)
    (sample.factory.state / "serials.json").write_bytes(b'{"stream": [{"ser')
    with pytest.raises(FormatError, match=r"serials\.json") as caught:
        sample.bundle(tmp_path / "media")
    assert "made again from the ledger" in caught.value.remedy


def test_the_ledger_tells_serial_and_bundle_and_the_manifest_its_head(sample: Sample, tmp_path: Path) -> None:
    info = sample.bundle(tmp_path / "media")
    serial, bundle = ledger.entries(sample.factory.ledger)
    assert (serial.verb, bundle.verb) == ("serial", "bundle")
    assert bundle.data["manifest"] == info.manifest
    assert json.loads((Path(info.path) / "MANIFEST.json").read_bytes())["ledger_head"] == serial.hash


def test_what_the_pool_lacks_is_named_and_nothing_is_written(sample: Sample, tmp_path: Path) -> None:
    gone = sample.lock.artifacts[2]
    sample.pool.path(gone.sha256).unlink()
    with pytest.raises(IncompleteError, match=gone.file.replace("+", r"\+")) as caught:
        sample.bundle(tmp_path / "media")
    assert "refresh" in caught.value.remedy
    assert not (tmp_path / "media").exists()
    assert not sample.factory.ledger.exists()


def test_what_the_pool_holds_damaged_is_named_and_never_lands(sample: Sample, tmp_path: Path) -> None:
    bad = sample.lock.artifacts[1]
    place = sample.pool.path(bad.sha256)
    place.write_bytes(bytes(bad.size))
    with pytest.raises(IntegrityError, match=bad.file.replace("+", r"\+")):
        sample.bundle(tmp_path / "media")
    folder = tmp_path / "media" / "stream-r1"
    assert not (folder / "MANIFEST.json").exists()
    assert not list(folder.rglob(f"*{bad.sha256}*"))


def test_an_id_is_never_used_twice(sample: Sample, tmp_path: Path) -> None:
    sample.bundle(tmp_path / "media")
    shutil.rmtree(sample.factory.state)
    sample.factory.ledger.unlink()
    with pytest.raises(StateError, match="another bundle under the id stream-r1"):
        relocked(sample, "why").bundle(tmp_path / "media")


def test_an_unfinished_bundle_of_another_lock_is_not_gone_on_with(sample: Sample, tmp_path: Path) -> None:
    folder = Path(sample.bundle(tmp_path / "media").path)
    (folder / "MANIFEST.json").unlink()
    shutil.rmtree(sample.factory.state)
    sample.factory.ledger.unlink()
    with pytest.raises(StateError, match="another bundle"):
        relocked(sample, "why").bundle(tmp_path / "media")


@pytest.mark.parametrize("link", [False, True])
def test_foreign_files_in_the_folder_are_refused(sample: Sample, tmp_path: Path, link: bool) -> None:
    folder = tmp_path / "media" / "stream-r1"
    folder.mkdir(parents=True)
    if link:
        (tmp_path / "outside").mkdir()
        (folder / "pool").symlink_to(tmp_path / "outside")
    else:
        (folder / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(StateError, match="in the way"):
        sample.bundle(tmp_path / "media")
    assert not list(tmp_path.glob("outside/*"))


def test_leftovers_of_a_killed_run_are_cleared_away(sample: Sample, tmp_path: Path) -> None:
    folder = Path(sample.bundle(tmp_path / "media").path)
    (folder / "MANIFEST.json").unlink()
    victim = next(folder.glob("pool/*/*.whl"))
    victim.rename(victim.with_name(victim.name + ".part"))
    sample.bundle(tmp_path / "media")
    verify_bundle(folder, QUIET)


def test_a_lock_of_another_definition_is_refused(sample: Sample, tmp_path: Path) -> None:
    path = sample.definition.path
    path.write_text(path.read_text() + "# thought better of it\n")
    with pytest.raises(StateError, match="made for another"):
        make_bundle(sample.factory, load_definition(path), tmp_path / "media", QUIET)


def test_without_lock_or_indexes_the_remedy_is_told(sample: Sample, tmp_path: Path) -> None:
    shutil.rmtree(sample.factory.indexes)
    with pytest.raises(IncompleteError) as caught:
        sample.bundle(tmp_path / "media")
    assert "refresh" in caught.value.remedy
    sample.definition.lock_path.unlink()
    with pytest.raises(UsageError) as caught:
        sample.bundle(tmp_path / "media")
    assert "lock" in caught.value.remedy


def test_a_definition_file_that_media_cannot_hold_is_named(tmp_path: Path) -> None:
    sample = make_sample(tmp_path)
    text = sample.definition.path.read_text().replace("[base]", 'template_overrides = ["a:b.j2"]\n\n[base]')
    sample.definition.path.write_text(text)
    (sample.definition.folder / "a:b.j2").write_text("")
    definition = load_definition(sample.definition.path)
    header = msgspec.structs.replace(sample.lock.header, definition=definition.digest)
    lock = msgspec.structs.replace(sample.lock, header=header)
    write_lock(definition, lock)
    write_indexes(sample.factory, lock)
    with pytest.raises(DefinitionError, match=r"a:b\.j2"):
        make_bundle(sample.factory, definition, tmp_path / "media", QUIET)


def test_two_artifacts_of_one_content_are_carried_once(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, count=0, extra={"one_1_all.deb": b"same", "two_1_all.deb": b"same"})
    info = sample.bundle(tmp_path / "media")
    assert len(list(Path(info.path).glob("pool/*/*"))) == 1
    assert len(verify_bundle(Path(info.path), QUIET).lock.artifacts) == 2


def test_room_is_asked_for_before_the_first_byte(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(SpaceError, match="stream-r1"):
        sample.bundle(tmp_path / "media")
    assert not (tmp_path / "media").exists()


def test_the_media_share_no_inode_with_the_factory(sample: Sample, tmp_path: Path) -> None:
    folder = Path(sample.bundle(tmp_path / "media").path)
    assert all(path.stat().st_nlink == 1 for path in folder.rglob("*") if path.is_file())
    assert all(sha256_file(path)[0] == path.name[:64] for path in folder.glob("pool/*/*"))
