"""kolla-toolbox takes its constraints by curl: the locked file, as the Dockerfile edits it, is what pip is held to."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from airlock.core.digest import sha256_bytes
from airlock.core.errors import UnclassifiedError
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.contents import Contents
from airlock.lock.downloads import DownloadsResult, file_artifact
from airlock.lock.gather import Gathered, gather, render_sealed
from airlock.lock.model import Demand
from airlock.lock.python_images import PipLines
from airlock.lock.python_model import PipLine
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

Define = Callable[..., LoadedDefinition]
TEXT = b"openstacksdk===3.0.0\npbr===6.0.0\n"


def toolbox(kolla: KollaEnvironment, loaded: LoadedDefinition, work: Path) -> tuple[Gathered, Demand]:
    gathered = gather(kolla, loaded, "x86_64", work, Shortfall("x86_64", keep_going=True))
    spec = re.search(r"UPPER_CONSTRAINTS_FILE:-(\S+)}", gathered.tree.by_name["kolla-toolbox"].dockerfile.decode())
    assert spec is not None
    return gathered, Demand("x86_64", "kolla-toolbox", 48, "file", spec[1])


def pip_lines(gathered: Gathered, contents: Contents) -> list[PipLine]:
    return [step for step in PipLines(gathered, contents).steps("kolla-toolbox") if isinstance(step, PipLine)]


@pytest.fixture
def loaded(define: Define) -> LoadedDefinition:
    return define(images='["kolla-toolbox"]', top='distribution_packages = ["kolla-toolbox"]')


def test_the_file_that_curl_fetched_is_what_pip_is_held_to_less_what_sed_takes_out(
    kolla: KollaEnvironment, loaded: LoadedDefinition, tmp_path: Path
) -> None:
    gathered, demand = toolbox(kolla, loaded, tmp_path / "w")
    pool = Pool(tmp_path / "pool")
    file = file_artifact("releases", "constraints/upper/2024.1", pool.add_bytes(TEXT), len(TEXT))
    answered = msgspec.structs.replace(demand, artifacts=(file.id,))
    found = DownloadsResult((answered,), (file,), {}).by_address
    paths = {address: pool.path(one.sha256) for address, one in found.items()}
    lines = pip_lines(gathered, Contents(gathered, {}, paths))
    assert len(lines) == 2
    assert [line.constraints for line in lines] == ["pbr===6.0.0\n"] * 2
    with pytest.raises(UnclassifiedError, match=r"/requirements/upper-constraints.txt holds cannot be told"):
        pip_lines(gathered, Contents(gathered, {}, {}))


def test_what_is_no_text_is_refused(kolla: KollaEnvironment, loaded: LoadedDefinition, tmp_path: Path) -> None:
    gathered, demand = toolbox(kolla, loaded, tmp_path / "w")
    (tmp_path / "file").write_bytes(b"\xff\xfe")
    with pytest.raises(UnclassifiedError, match=r"upper-constraints.txt is no text"):
        pip_lines(gathered, Contents(gathered, {}, {demand.spec: tmp_path / "file"}))


def test_in_the_room_curl_is_led_to_the_locked_file(
    kolla: KollaEnvironment, loaded: LoadedDefinition, tmp_path: Path
) -> None:
    _, demand = toolbox(kolla, loaded, tmp_path / "w")
    file = file_artifact("releases", "constraints/upper/2024.1", sha256_bytes(TEXT), len(TEXT))
    answered = [msgspec.structs.replace(demand, artifacts=(file.id,))]
    sealed = render_sealed(kolla, loaded, "x86_64", tmp_path / "s", answered, {file.id: file}).by_name
    text = sealed["kolla-toolbox"].dockerfile.decode()
    place = f"http://mirror.airlock.internal/pool/{file.sha256[:2]}/{file.sha256}/2024.1"
    assert f"${{UPPER_CONSTRAINTS_FILE:-{place}}}" in text
    assert demand.spec not in text
    assert b"UPPER_CONSTRAINTS_FILE" not in sealed["base"].dockerfile, "it would win over the address"
