"""`bundle`, `verify` and `import` with one file missing, changed or added, and with too little room."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import airlock, done, refused
from tests.integration.faults.conftest import Locked
from tests.integration.verbs.conftest import Disk, clone, rewrite

INTEGRITY, INCOMPLETE, SPACE = 7, 9, 12


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    rewrite(path, bytes(data))


def deb_of(locked: Locked, name: str) -> tuple[str, Path]:
    artifact = next(one for one in locked.lock.artifacts if one.name == name)
    return artifact.id, locked.pool.path(artifact.sha256)


def test_what_the_pool_lacks_or_has_otherwise_is_named_before_any_media_is_written(
    own: Locked, tmp_path: Path, upstreams: object, factory: Path
) -> None:
    """And what the message says to do mends it."""
    (own.factory / "factory.toml").write_text((factory / "factory.toml").read_text())
    media = tmp_path / "media"
    media.mkdir()
    missing, changed, short = (deb_of(own, name) for name in ("lsof", "curl", "gawk"))
    missing[1].unlink()
    flipped(changed[1])
    rewrite(short[1], short[1].read_bytes()[:-1])
    words = ["bundle", "--media", media, "--factory", own.factory, own.definition]
    result = airlock(*words)
    message = refused(
        result, INCOMPLETE, f"{missing[0]} is missing", f"{changed[0]} is wrong content", f"{short[0]} is wrong size",
        "image base (x86_64), line ", "airlock refresh",
    )  # fmt: skip
    assert list(media.iterdir()) == []

    assert f"pool/{changed[1].parent.name}/{changed[1].name}" in message, "which file to remove"
    changed[1].unlink()
    done(airlock("refresh", "--factory", own.factory, own.definition))
    done(airlock(*words))
    assert len(list(media.iterdir())) == 1


def remove(bundle: Path) -> str:
    victim = sorted((bundle / "pool").rglob("*.deb"))[7]
    victim.unlink()
    return victim.relative_to(bundle).as_posix()


def change(bundle: Path) -> str:
    victim = sorted((bundle / "pool").rglob("*.deb"))[11]
    flipped(victim)
    return victim.relative_to(bundle).as_posix()


def add(bundle: Path) -> str:
    (bundle / "pool/00/more.deb").parent.mkdir(exist_ok=True)
    (bundle / "pool/00/more.deb").write_bytes(b"!<arch>")
    return "pool/00/more.deb"


def change_lock(bundle: Path) -> str:
    rewrite(bundle / "airlock.lock", (bundle / "airlock.lock").read_bytes().replace(b"lsof", b"lsoF", 1))
    return "airlock.lock"


def change_sums(bundle: Path) -> str:
    rewrite(bundle / "SHA256SUMS", (bundle / "SHA256SUMS").read_bytes().replace(b"0", b"1", 1))
    return "SHA256SUMS"


def add_beside(bundle: Path) -> str:
    (bundle / "autorun.inf").write_text("x")
    return "autorun.inf"


Harm = Callable[[Path], str]
HARMS: dict[Harm, int] = {
    remove: INCOMPLETE, change: INTEGRITY, add: INTEGRITY, change_lock: INTEGRITY, change_sums: INTEGRITY,
    add_beside: INTEGRITY,
}  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_one_file_of_a_bundle_missing_changed_or_added_is_named_and_nothing_is_imported(
    bundle: Path, site: Path, tmp_path: Path, harm: Harm
) -> None:
    broken = clone(bundle, tmp_path / "media" / bundle.name)
    name = harm(broken)
    refused(airlock("verify", broken), HARMS[harm], name)
    refused(airlock("import", broken, "--site", site), HARMS[harm], name)
    status = json.loads(done(airlock("status", "--site", site, "--json")).stdout)
    assert status["bundles"] == []
    assert not list(site.rglob("*.deb"))
    assert not (site / "ledger.jsonl").exists()


def test_all_that_is_wrong_is_told_in_one_message(bundle: Path, tmp_path: Path) -> None:
    broken = clone(bundle, tmp_path / "media" / bundle.name)
    names = [harm(broken) for harm in HARMS]
    refused(airlock("verify", broken), INTEGRITY, *names)


def test_a_damaged_copy_harms_no_whole_one(bundle: Path, site: Path, tmp_path: Path) -> None:
    """The same site takes the bundle from whole media afterwards, then mends itself from them."""
    broken = clone(bundle, tmp_path / "media" / bundle.name)
    remove(broken)
    refused(airlock("import", broken, "--site", site), INCOMPLETE)
    done(airlock("import", bundle, "--site", site))
    stored = next((site / "artifacts/pool").rglob("lsof*.deb"))
    flipped(stored)
    assert "mended" in done(airlock("import", bundle, "--site", site)).stdout
    assert "nothing to do" in done(airlock("import", bundle, "--site", site)).stdout


def test_a_transfer_paper_with_another_digest_imports_nothing(bundle: Path, site: Path) -> None:
    refused(airlock("import", bundle, "--site", site, "--expect", "0" * 64), INTEGRITY, "0" * 64)
    assert not list(site.rglob("*.deb"))
    paper = json.loads(done(airlock("verify", bundle, "--json")).stdout)["manifest"]
    assert "as expected" in done(airlock("import", bundle, "--site", site, "--expect", paper)).stdout


def test_media_without_room_are_left_empty_and_with_room_the_same_command_ends(own: Locked, disk: Disk) -> None:
    media = disk("small", 40)
    words = ["bundle", "--media", media, "--factory", own.factory, own.definition]
    refused(airlock(*words), SPACE, str(media), "MB", "run the same command again")
    assert list(media.iterdir()) == []
    disk("small", 400)
    done(airlock(*words))
    (made,) = media.iterdir()
    done(airlock("verify", made))


def test_a_site_without_room_stays_as_it_was_and_with_room_the_same_command_ends(bundle: Path, disk: Disk) -> None:
    site = disk("site", 40)
    (site / "site.toml").write_text('name = "small"\n')
    refused(airlock("import", bundle, "--site", site), SPACE, str(site), "MB", "run the same command again")
    assert not list(site.rglob("*.deb"))
    assert json.loads(done(airlock("status", "--site", site, "--json")).stdout)["bundles"] == []
    disk("site", 400)
    done(airlock("import", bundle, "--site", site))
    done(airlock("audit", "--site", site))


def test_a_factory_without_room_says_so_whichever_verb_fills_it(
    own: Locked, disk: Disk, upstreams: object, factory: Path
) -> None:
    """`lock` cannot know how much it will ask for, so it meets the end of the disk; `refresh` looks before."""
    small = disk("small", 12)
    (small / "factory.toml").write_text((factory / "factory.toml").read_text())
    (own.definition / "airlock.lock").rename(own.definition / "kept")
    refused(airlock("lock", "--factory", small, own.definition), SPACE, str(small))
    assert not (own.definition / "airlock.lock").exists()
    assert not list(small.rglob("*.part"))
    (own.definition / "kept").rename(own.definition / "airlock.lock")
    refused(airlock("refresh", "--factory", small, own.definition), SPACE, str(small), "MB")
    disk("small", 400)
