"""The factory's Nexus has what was locked, once, and gives it to another machine before any upstream is asked."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.integration.fetch.conftest import Stand, short_pauses, stand  # noqa: F401 - fixtures
from tests.integration.fetch.test_refresh import Case, case, command, locked, write_inputs  # noqa: F401 - fixtures
from tests.integration.nexus.conftest import Repository, requests

from airlock.core.errors import GoneError, IntegrityError
from airlock.core.progress import SilentReporter
from airlock.core.settings import Factory
from airlock.fetch.transcript import read_transcript
from airlock.lock.copies import WITNESS, WITNESSED
from airlock.lock.indexes import build_indexes
from airlock.lock.model import Artifact
from airlock.lock.refresh import RefreshResult, refresh
from airlock.store.artifacts import store_path
from airlock.store.pool import Pool

pytestmark = pytest.mark.usefixtures("hasty")


class Said(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


async def run(
    case: Case,  # noqa: F811
    repository: Repository,
    root: Path | None = None,
    *more: Artifact,
    reporter: Said | None = None,
) -> RefreshResult:
    lock = locked(case.witness, *case.artifacts, *more)
    with repository.store() as store:
        return await refresh(
            lock, Factory(root or case.root, case.settings), case.defaults, reporter or SilentReporter(), store
        )


async def test_what_is_locked_is_put_there_once_and_another_machine_takes_it_from_there(
    case: Case, repository: Repository, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    first = await run(case, repository)
    kept = {entry.sha256 for entry in read_transcript(case.pool, case.witness).entries()}
    assert (first.fetched, first.taken, first.stored) == (3, 0, 3 + len(kept) + 1)
    for one in case.artifacts:
        assert repository.get(quote(store_path(one.sha256, one.file))) == case.pool.read(one.sha256)
    assert repository.get(store_path(case.witness, WITNESS)) == case.pool.read(case.witness)

    before = len(requests(repository.nexus))
    again = await run(case, repository)
    assert (again.fetched, again.present, again.taken, again.stored) == (0, 3, 0, 0)
    assert all("/v1/assets" in line for line in requests(repository.nexus)[before:])

    asked = len(case.stand.requests)
    other = tmp_path / "other"
    there = await run(case, repository, other)
    assert (there.fetched, there.bytes, there.present, there.taken, there.stored) == (0, 0, 0, first.stored, 0)
    assert len(case.stand.requests) == asked
    pool = Pool(other / "pool")
    assert all(pool.check(one.sha256, one.size) == "" for one in case.artifacts)
    lock = locked(case.witness, *case.artifacts)
    assert build_indexes(lock, pool) == build_indexes(lock, case.pool)
    assert not [path for path in pool.root.rglob("*") if path.name.endswith(".part")]


async def test_what_nexus_has_wrong_is_asked_of_upstream_and_mended_by_who_may(
    case: Case, repository: Repository, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    await run(case, repository)
    changed, gone, _ = case.artifacts
    for blob in (repository.nexus.data / "blobs" / repository.name).rglob("*.bytes"):
        if blob.read_bytes() == case.pool.read(changed.sha256):
            blob.write_bytes(bytes(changed.size))
    repository.delete(quote(store_path(gone.sha256, gone.file)))
    said = Said()
    with pytest.raises(IntegrityError, match="may not replace") as caught:
        await run(case, repository, tmp_path / "other", reporter=said)
    assert "-delete" in caught.value.remedy
    assert len([line for line in said.lines if "other bytes" in line and "its upstream is asked" in line]) == 1
    pool = Pool(tmp_path / "other" / "pool")
    assert all(pool.check(one.sha256, one.size) == "" for one in case.artifacts)  # all the same

    repository.allow("edit", "read", "browse", "delete")
    result = await run(case, repository, tmp_path / "third")
    assert (result.fetched, result.stored) == (1, 1)
    assert repository.get(quote(store_path(changed.sha256, changed.file))) == case.pool.read(changed.sha256)


async def test_what_an_upstream_lost_does_not_keep_the_rest_from_nexus(
    case: Case, repository: Repository  # noqa: F811
) -> None:  # fmt: skip
    del case.stand.files["/debian/pool/d/demo_1+b1_all.deb"]
    with pytest.raises(GoneError):
        await run(case, repository)
    with repository.store() as store:
        held = {file.path for file in store.list("pool")}
    assert {store_path(one.sha256, one.file) for one in case.artifacts} - held == {
        store_path(case.artifacts[0].sha256, case.artifacts[0].file)
    }


async def test_the_command_tells_how_many_went_where(
    case: Case, repository: Repository, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    write_inputs(case, tmp_path / "definition", locked(case.witness, *case.artifacts))
    with (case.root / "factory.toml").open("a") as stream:
        stream.write(repository.table)
    process = await command(case, tmp_path / "definition")
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    told = json.loads(out)
    assert told["fetched"] == 3
    assert told["taken"] == 0
    assert told["stored"] > 3
    (entry,) = [json.loads(line) for line in (case.root / "ledger.jsonl").read_bytes().splitlines()]
    assert entry["data"]["stored"] == told["stored"]
    assert repository.login.password not in out.decode() + err.decode()


def test_the_names_in_the_store_are_those_of_its_format() -> None:
    text = (Path(__file__).parents[3] / "docs" / "formats" / "bundle.md").read_text()
    assert f"pool/<aa>/<sha256>/{WITNESS}" in text
    assert f"pool/<aa>/<sha256>/{WITNESSED}" in text
