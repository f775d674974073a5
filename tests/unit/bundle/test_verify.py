"""A bundle is hostile until verified: whatever is wrong with it is found, and named, and nothing is followed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bundle_samples import QUIET, Sample, forge, make_sample, manifest_of, tree

from airlock.bundle.manifest import FileEntry, read_content
from airlock.bundle.media import MAX_FINDINGS, Findings, hash_plain, read_plain
from airlock.bundle.verify import verify_bundle
from airlock.core.digest import sha256_bytes
from airlock.core.errors import AirlockError, FormatError, IncompleteError, IntegrityError, UsageError


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return make_sample(tmp_path)


@pytest.fixture
def bundle(sample: Sample, tmp_path: Path) -> Path:
    return Path(sample.bundle(tmp_path / "media").path)


def content_file(bundle: Path, ending: str = ".deb") -> Path:
    return next(bundle.glob(f"pool/*/*{ending}"))


def content_of(bundle: Path) -> list[FileEntry]:
    return list(read_content((bundle / "CONTENT.jsonl").read_bytes()))


def test_a_whole_bundle_is_told_by_its_digests(sample: Sample, bundle: Path) -> None:
    verified = verify_bundle(bundle, QUIET)
    assert verified.digest == sha256_bytes((bundle / "MANIFEST.json").read_bytes())
    assert verified.manifest == manifest_of(bundle)
    assert verified.lock == sample.lock
    assert {entry.sha256 for entry in verified.content} == {artifact.sha256 for artifact in sample.lock.artifacts}


def test_it_may_lie_on_read_only_media_under_another_name(bundle: Path) -> None:
    moved = bundle.rename(bundle.with_name("renamed"))
    for path in [moved, *moved.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert verify_bundle(moved, QUIET).manifest.id == "stream-r1"


def missing(bundle: Path) -> str:
    content_file(bundle).unlink()
    return "missing: pool/"


def missing_index(bundle: Path) -> str:
    (bundle / "indexes" / "files.json").unlink()
    return "missing: indexes/files.json"


def missing_content_list(bundle: Path) -> str:
    (bundle / "CONTENT.jsonl").unlink()
    return "missing: CONTENT.jsonl"


def missing_lock(bundle: Path) -> str:
    (bundle / "airlock.lock").unlink()
    return "missing: airlock.lock"


def missing_sums(bundle: Path) -> str:
    (bundle / "SHA256SUMS").unlink()
    return "missing: SHA256SUMS"


def missing_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").unlink()
    return "no MANIFEST.json"


INCOMPLETE = [missing, missing_index, missing_content_list, missing_lock, missing_sums, missing_manifest]


@pytest.mark.parametrize("harm", INCOMPLETE, ids=lambda harm: harm.__name__)
def test_what_is_missing_is_named(bundle: Path, harm: Callable[[Path], str]) -> None:
    said = harm(bundle)
    with pytest.raises(IncompleteError) as caught:
        verify_bundle(bundle, QUIET)
    assert said in caught.value.message
    assert caught.value.remedy


def changed(bundle: Path) -> str:
    path = content_file(bundle)
    path.write_bytes(bytes(path.stat().st_size))
    return "wrong content: pool/"


def shorter(bundle: Path) -> str:
    path = content_file(bundle)
    os.truncate(path, path.stat().st_size - 1)
    return "wrong size: pool/"


def changed_index(bundle: Path) -> str:
    path = bundle / "indexes" / "files.json"
    path.write_bytes(b"x" * path.stat().st_size)
    return "wrong content: indexes/files.json"


def changed_content_list(bundle: Path) -> str:
    path = bundle / "CONTENT.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"size":', b'"sizf":', 1))
    return "wrong content: CONTENT.jsonl"


def changed_lock(bundle: Path) -> str:
    path = bundle / "airlock.lock"
    path.write_bytes(path.read_bytes().replace(b"18.8.0", b"18.8.1"))
    return "wrong content: airlock.lock"


def truncated_manifest(bundle: Path) -> str:
    os.truncate(bundle / "MANIFEST.json", 200)
    return "wrong content: MANIFEST.json"


def empty_manifest(bundle: Path) -> str:
    os.truncate(bundle / "MANIFEST.json", 0)
    return "wrong content: MANIFEST.json"


def changed_sums(bundle: Path) -> str:
    path = bundle / "SHA256SUMS"
    path.write_bytes(path.read_bytes().replace(b"  README.txt", b" *README.txt"))
    return "inconsistent: SHA256SUMS"


def added(bundle: Path) -> str:
    (bundle / "pool" / "setup.exe").write_bytes(b"MZ")
    return "unexpected: pool/setup.exe"


def added_commit_file(bundle: Path) -> str:
    (bundle / "COMMITTED.json").write_bytes(b"{}")
    return "unexpected: COMMITTED.json"


def added_fifo(bundle: Path) -> str:
    os.mkfifo(bundle / "pool" / "pipe")
    return "unexpected: pool/pipe (neither file nor folder)"


def fifo_for_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").unlink()
    os.mkfifo(bundle / "MANIFEST.json")
    return "unexpected: MANIFEST.json (neither file nor folder)"


def link_for_file(bundle: Path) -> str:
    path = content_file(bundle)
    copy = bundle.parent / "elsewhere.deb"
    path.rename(copy)
    path.symlink_to(copy)
    return "(symbolic link)"


def link_for_folder(bundle: Path) -> str:
    (bundle / "indexes").rename(bundle.parent / "elsewhere")
    (bundle / "indexes").symlink_to(bundle.parent / "elsewhere")
    return "unexpected: indexes (symbolic link)"


def link_for_manifest(bundle: Path) -> str:
    (bundle / "MANIFEST.json").rename(bundle.parent / "elsewhere.json")
    (bundle / "MANIFEST.json").symlink_to(bundle.parent / "elsewhere.json")
    return "unexpected: MANIFEST.json (symbolic link)"


def oversized_name(bundle: Path) -> str:
    (bundle / ("x" * 250)).write_bytes(b"")
    return "(unsafe name)"


def name_that_is_not_text(bundle: Path) -> str:
    Path(os.fsdecode(os.fsencode(bundle) + b"/a\xff")).write_bytes(b"")
    return "unexpected: 'a\\udcff' (unsafe name)"


def name_with_escape(bundle: Path) -> str:
    (bundle / "a\x1b[2Jb").write_bytes(b"")
    return "unexpected: 'a\\x1b[2Jb' (unsafe name)"


def too_deep(bundle: Path) -> str:
    (bundle / "/".join("d" * 40)).mkdir(parents=True)
    return "(unsafe name)"


CHANGED = [
    changed, shorter, changed_index, changed_content_list, changed_lock, truncated_manifest, empty_manifest,
    changed_sums, added, added_commit_file, added_fifo, fifo_for_manifest, link_for_file,
    link_for_folder, link_for_manifest, oversized_name, name_that_is_not_text, name_with_escape, too_deep,
]  # fmt: skip


@pytest.mark.parametrize("harm", CHANGED, ids=lambda harm: harm.__name__)
def test_what_is_changed_or_added_is_named(bundle: Path, harm: Callable[[Path], str]) -> None:
    said = harm(bundle)
    with pytest.raises(IntegrityError) as caught:
        verify_bundle(bundle, QUIET)
    assert said in caught.value.message
    assert caught.value.remedy
    assert "\x1b" not in caught.value.message


def content_nobody_locked(bundle: Path) -> str:
    sha256 = sha256_bytes(b"a backdoor")
    entry = FileEntry(f"pool/{sha256[:2]}/{sha256}.deb", sha256, 10)
    (bundle / entry.path).parent.mkdir(exist_ok=True)
    (bundle / entry.path).write_bytes(b"a backdoor")
    forge(bundle, [*content_of(bundle), entry])
    return "(no artifact of the lock)"


def lock_of_another_definition(bundle: Path) -> str:
    (bundle / "definition" / "release.toml").write_bytes(b"")
    forge(bundle)
    return "its digest is not the one in MANIFEST.json"


def definition_of_another_lock(bundle: Path) -> str:
    lock = (bundle / "airlock.lock").read_bytes().splitlines(keepends=True)
    header = json.loads(lock[0]) | {"definition": "0" * 64}
    (bundle / "airlock.lock").write_bytes(b"".join([json.dumps(header).encode() + b"\n", *lock[1:]]))
    forge(bundle)
    return "another definition"


def lock_cut_short(bundle: Path) -> str:
    lock = (bundle / "airlock.lock").read_bytes().splitlines(keepends=True)
    (bundle / "airlock.lock").write_bytes(b"".join(lock[:2] + lock[3:]))
    forge(bundle)
    return "other numbers of lines"


def lock_with_a_climbing_name(bundle: Path) -> str:
    lock = (bundle / "airlock.lock").read_bytes()
    (bundle / "airlock.lock").write_bytes(lock.replace(b'"file":"pkg_1-1.0', b'"file":"../../x'))
    forge(bundle)
    return "the unsafe file name '../../x-py3-none-any.whl'"


def lock_with_another_size(bundle: Path) -> str:
    lines = (bundle / "airlock.lock").read_bytes().splitlines()
    artifact = json.loads(lines[-1])
    lines[-1] = json.dumps(artifact | {"size": artifact["size"] + 1}).encode()
    (bundle / "airlock.lock").write_bytes(b"\n".join(lines) + b"\n")
    forge(bundle)
    return "bytes in the lock"


def other_totals(bundle: Path) -> str:
    forge(bundle, content={"files": 1, "size": 1})
    return "other totals"


FORGED = [
    content_nobody_locked, lock_of_another_definition, definition_of_another_lock, lock_cut_short,
    lock_with_a_climbing_name, lock_with_another_size, other_totals,
]  # fmt: skip


@pytest.mark.parametrize("harm", FORGED, ids=lambda harm: harm.__name__)
def test_parts_that_contradict_each_other_are_found_though_all_sums_fit(
    bundle: Path, harm: Callable[[Path], str]
) -> None:
    said = harm(bundle)
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=bundle, check=True)
    with pytest.raises(IntegrityError) as caught:
        verify_bundle(bundle, QUIET)
    assert said in caught.value.message


def test_locked_content_that_no_list_names_is_missing(sample: Sample, bundle: Path) -> None:
    first, *rest = content_of(bundle)
    (bundle / first.path).unlink()
    forge(bundle, rest)
    with pytest.raises(IncompleteError, match=r"which CONTENT\.jsonl does not name") as caught:
        verify_bundle(bundle, QUIET)
    assert any(one.id in caught.value.message for one in sample.lock.artifacts if one.sha256 == first.sha256)


def test_names_that_differ_in_case_alone_are_refused(bundle: Path) -> None:
    for name in ("notes", "Notes"):
        (bundle / "definition" / name).write_bytes(b"")
    forge(bundle)
    with pytest.raises(IntegrityError, match="case does not count"):
        verify_bundle(bundle, QUIET)


def test_a_path_that_climbs_out_is_refused(bundle: Path) -> None:
    (bundle.parent / "outside").write_bytes(b"x")
    files = [FileEntry("../outside", sha256_bytes(b"x"), 1), *manifest_of(bundle).files]
    forge(bundle, files=files)
    with pytest.raises(IntegrityError, match="unsafe path"):
        verify_bundle(bundle, QUIET)


def test_an_unknown_critical_feature_names_the_reader_it_needs(bundle: Path) -> None:
    forge(bundle, critical_features=["volumes"], minimum_reader="1.4.0")
    with pytest.raises(FormatError, match=r"airlock 1\.4\.0"):
        verify_bundle(bundle, QUIET)


def test_fields_of_a_newer_writer_are_passed_over(bundle: Path) -> None:
    forge(bundle, notes={"to": "the reader"})
    assert verify_bundle(bundle, QUIET).manifest.id == "stream-r1"


def test_a_lock_of_a_newer_format_is_a_format_error(bundle: Path) -> None:
    lock = (bundle / "airlock.lock").read_bytes()
    (bundle / "airlock.lock").write_bytes(lock.replace(b'"format":1', b'"format":7', 1))
    forge(bundle)
    with pytest.raises(FormatError, match="format 7"):
        verify_bundle(bundle, QUIET)


def test_all_that_is_wrong_is_told_at_once(bundle: Path) -> None:
    harms = [missing, shorter, missing_index, added, added_fifo]
    said = [harm(bundle) for harm in harms if harm is not shorter]
    os.truncate(content_file(bundle, ".whl"), 3)
    changed_file = content_file(bundle, ".tar.gz")
    changed_file.write_bytes(bytes(changed_file.stat().st_size))
    with pytest.raises(IntegrityError) as caught:
        verify_bundle(bundle, QUIET)
    for text in [*said, "wrong size: pool/", "wrong content: pool/"]:
        assert text in caught.value.message
    assert "2 missing, 2 unexpected, 1 wrong content, 1 wrong size" in caught.value.message


def test_a_damaged_list_of_content_does_not_hide_other_damage(bundle: Path) -> None:
    said = [changed_content_list(bundle), missing_index(bundle)]
    with pytest.raises(IntegrityError) as caught:
        verify_bundle(bundle, QUIET)
    assert all(text in caught.value.message for text in said)
    assert "unexpected" not in caught.value.message


def test_a_message_is_bounded_whatever_the_media_hold(bundle: Path) -> None:
    for number in range(500):
        (bundle / f"junk{number}").write_bytes(b"")
    with pytest.raises(IntegrityError, match="500 unexpected") as caught:
        verify_bundle(bundle, QUIET)
    assert len(caught.value.message.splitlines()) < 30
    findings = Findings("it")
    for number in range(MAX_FINDINGS - 1):
        findings.add("unexpected", str(number))
    with pytest.raises(IntegrityError, match=f"{MAX_FINDINGS} unexpected"):
        findings.add("unexpected", "one more")


def test_a_file_is_never_read_beyond_its_size(bundle: Path) -> None:
    path = content_file(bundle)
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)  # sparse: reading it would take an hour
    with pytest.raises(IntegrityError, match="wrong size"):
        verify_bundle(bundle, QUIET)


@pytest.mark.parametrize("name", ["MANIFEST.json", "SHA256SUMS"])
def test_what_is_read_whole_is_bounded(bundle: Path, name: str) -> None:
    os.truncate(bundle / name, 1 << 40)
    with pytest.raises(IntegrityError, match="larger than"):
        verify_bundle(bundle, QUIET)


@pytest.mark.parametrize("swap", ["link", "pipe"])
def test_what_is_swapped_while_it_is_read_is_not_followed(bundle: Path, swap: str) -> None:
    for path in (content_file(bundle), bundle / "MANIFEST.json"):
        elsewhere = path.rename(bundle.parent / "elsewhere")
        path.symlink_to(elsewhere) if swap == "link" else os.mkfifo(path)
        with pytest.raises(OSError, match="symbolic links" if swap == "link" else "not a regular file"):
            hash_plain(path, 100)
        with pytest.raises(OSError, match="symbolic links" if swap == "link" else "not a regular file"):
            read_plain(path, 100)


def test_unreadable_media_are_told_apart(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = content_file(bundle)
    open_file = os.open

    def failing(path: object, *args: int, **kwargs: int) -> int:
        if path == victim:
            raise OSError(5, "Input/output error", str(path))
        return open_file(path, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(IntegrityError, match=r"unreadable: pool/.*Input/output error"):
        verify_bundle(bundle, QUIET)


def test_a_folder_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        verify_bundle(tmp_path / "nothing", QUIET)
    (tmp_path / "empty").mkdir()
    with pytest.raises(IncompleteError, match=r"no MANIFEST\.json"):
        verify_bundle(tmp_path / "empty", QUIET)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    root = tmp_path_factory.mktemp("small")
    folder = Path(make_sample(root, count=4, size=60).bundle(root / "media").path)
    return folder, tree(folder)


def sha256sum_accepts(folder: Path) -> bool:
    command = ["sha256sum", "--strict", "--status", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0


@settings(max_examples=int(os.environ.get("AIRLOCK_FLIPS", "150")), deadline=None)
@given(data=st.data())
def test_any_single_flipped_byte_of_any_file_is_found(
    small: tuple[Path, dict[str, bytes]], data: st.DataObject
) -> None:
    folder, whole = small
    name = data.draw(st.sampled_from(sorted(whole)))
    where = data.draw(st.integers(0, len(whole[name]) - 1))
    mask = data.draw(st.integers(1, 255))
    flipped = bytearray(whole[name])
    flipped[where] ^= mask
    (folder / name).write_bytes(flipped)
    try:
        with pytest.raises(AirlockError) as caught:
            verify_bundle(folder, QUIET)
        assert isinstance(caught.value, IntegrityError)
        if name != "SHA256SUMS":
            assert name in caught.value.message
            assert not sha256sum_accepts(folder)
    finally:
        (folder / name).write_bytes(whole[name])


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_file_cut_short_or_gone_is_found(small: tuple[Path, dict[str, bytes]], data: st.DataObject) -> None:
    folder, whole = small
    name = data.draw(st.sampled_from(sorted(whole)))
    keep = data.draw(st.integers(-1, len(whole[name]) - 1))
    (folder / name).unlink() if keep < 0 else os.truncate(folder / name, keep)
    try:
        with pytest.raises((IntegrityError, IncompleteError), match=name.replace("+", r"\+")):
            verify_bundle(folder, QUIET)
        assert name == "SHA256SUMS" or not sha256sum_accepts(folder)
    finally:
        (folder / name).write_bytes(whole[name])


def test_the_samples_are_whole_after_all(small: tuple[Path, dict[str, bytes]]) -> None:
    assert sha256sum_accepts(small[0])
    verify_bundle(small[0], QUIET)


@settings(max_examples=60, deadline=None)
@given(document=st.binary(max_size=300), sums=st.binary(max_size=300))
def test_no_bytes_make_it_fall_over(tmp_path_factory: pytest.TempPathFactory, document: bytes, sums: bytes) -> None:
    folder = tmp_path_factory.mktemp("junk")
    (folder / "MANIFEST.json").write_bytes(document)
    fitting = f"{sha256_bytes(document)}  MANIFEST.json\n".encode()
    for text in (sums, fitting + sums):
        (folder / "SHA256SUMS").write_bytes(text)
        with pytest.raises(AirlockError):
            verify_bundle(folder, QUIET)
