"""On a real lock: whatever one thing is taken away or added, `validate` names it. By property, not by example.

Kolla is rendered once: what its templates give does not depend on what is taken out of pool, indexes or lock. For the
override, a rendering with a placeholder among the packages is what the drawn names are put into.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.integration.faults.airlock_runs import airlock, refused
from tests.integration.faults.conftest import Define, Locked, write_definition

from airlock.core.progress import SilentReporter
from airlock.core.settings import load_factory
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.render import RenderedTree
from airlock.lock import gather as gathering
from airlock.lock import validate as validating
from airlock.lock.files import save_lock
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, Image, Lock, read_lock
from airlock.lock.proof import Expected
from airlock.lock.tools import required_tools, tool_artifacts
from airlock.store.pool import Pool

QUIET = SilentReporter()
CASES = 2000 if os.environ.get("HYPOTHESIS_PROFILE") == "full" else 100
COUNTED = settings(
    max_examples=CASES,
    deadline=None,
    phases=[Phase.generate],  # each case is a fault of its own: the first that goes unnoticed is told
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)
MARK = "airlock-marker"


@pytest.fixture(scope="module")
def own(locked: Locked, tmp_path_factory: pytest.TempPathFactory) -> Locked:
    """A copy that may be broken (files of the pool are only taken away and put back, so they may share inodes)."""
    root = tmp_path_factory.mktemp("own")
    shutil.copytree(locked.factory, root / "factory", copy_function=os.link, symlinks=True)
    shutil.copytree(locked.definition, root / "definition")
    return Locked(root / "factory", root / "definition")


@pytest.fixture(scope="module")
def once(own: Locked) -> Iterator[None]:
    """Renders once in this module, and looks at the real pool, indexes and locks every time.

    A file of the pool is hashed again only if it is another than before; Kolla's environment of a lock that lacks some
    tool is not made, as nothing would be rendered with it.
    """
    rendered: list[tuple[Expected, dict[str, Gathered], dict[str, RenderedTree]]] = []
    real = validating.expectation

    def expectation(
        environment: KollaEnvironment, loaded: LoadedDefinition, lock: Lock, tools: tuple[str, ...], work: Path
    ) -> tuple[Expected, dict[str, Gathered], dict[str, RenderedTree]]:
        if not rendered:
            rendered.append(real(environment, loaded, lock, tools, own.definition.parent / "rendered"))
        return rendered[0]

    hashed: dict[tuple[int, int, int], str] = {}
    check = Pool.check

    def check_once(pool: Pool, sha256: str, size: int) -> str:
        try:
            found = pool.path(sha256).stat()
        except FileNotFoundError:
            return check(pool, sha256, size)
        key = (found.st_ino, found.st_mtime_ns, found.st_size)
        if key not in hashed:
            hashed[key] = check(pool, sha256, size)
        return hashed[key]

    tools = tool_artifacts(own.lock)
    make = validating.tools_environment

    async def environment(artifacts: list[Artifact], content: Callable[[Artifact], Path], cache: Path) -> Path:
        return await make(tools, content if artifacts == tools else lambda one: own.pool.path(one.sha256), cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validating, "expectation", expectation)
        patch.setattr(validating, "tools_environment", environment)
        patch.setattr(Pool, "check", check_once)
        yield


def gaps_of(own: Locked, lock: Lock | None = None) -> str:
    proof = asyncio.run(validating.validate(lock or own.lock, own.loaded, load_factory(own.factory), QUIET))
    return "\n".join(map(str, proof.gaps))


@pytest.mark.usefixtures("once")
def test_whole_it_holds(own: Locked) -> None:
    assert gaps_of(own) == ""


@pytest.mark.usefixtures("once")
@COUNTED
@given(data=st.data())
def test_any_file_taken_out_of_the_pool_is_named_with_what_wants_it(own: Locked, data: st.DataObject) -> None:
    lock = own.lock
    victim = data.draw(st.sampled_from(lock.artifacts))
    path = own.pool.path(victim.sha256)
    aside = path.with_name("aside")
    path.rename(aside)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(validating, "prove_plans", lambda *_: ([], {}))  # reads the indexes alone, which are whole
            said = gaps_of(own)
    finally:
        aside.rename(path)
    wanting = {demand.where for demand in lock.demands if victim.id in demand.artifacts}
    assert any(f"{where}: {victim.id} is missing" in said for where in wanting), (victim.id, said)


@pytest.mark.usefixtures("once")
@COUNTED
@given(data=st.data())
def test_any_entry_taken_out_of_an_index_is_named(own: Locked, data: st.DataObject) -> None:
    files = sorted(path for path in own.indexes.rglob("*") if path.is_file() and path.stat().st_size)
    packages = [path for path in files if path.name == "Packages"]
    file = data.draw(st.sampled_from(packages) | st.sampled_from(files))
    whole = file.read_bytes()
    separator = b"\n\n" if file.name == "Packages" else b"\n"
    entries = whole.split(separator)
    number = data.draw(st.sampled_from([place for place, entry in enumerate(entries) if entry.strip()]))
    gone = entries.pop(number)
    file.unlink()
    file.write_bytes(separator.join(entries))
    try:
        said = gaps_of(own)
    finally:
        file.write_bytes(whole)
    assert file.relative_to(own.indexes).as_posix() in said
    assert gone.decode().strip().splitlines()[0][:100] in said, (file, gone[:200], said)


def name_of(line: Image | Demand | Artifact) -> str:
    if isinstance(line, Image):
        return f"image {line.name} ({line.arch})"
    if isinstance(line, Artifact):
        return line.id
    return f"`{line.spec}`"


@pytest.mark.usefixtures("once")
@COUNTED
@given(data=st.data())
def test_any_line_taken_out_of_the_lock_is_named(own: Locked, data: st.DataObject) -> None:
    lock = own.lock
    held = [*lock.images, *lock.demands, *lock.artifacts]
    victim = data.draw(st.sampled_from([*lock.images, *lock.demands]) | st.sampled_from(held))
    lines = lock.to_bytes().splitlines(keepends=True)
    del lines[1 + held.index(victim)]
    said = gaps_of(own, read_lock(b"".join(lines)))
    assert name_of(victim) in said, (victim, said)
    if isinstance(victim, Demand) and victim.image:
        assert f"{victim.where}: {victim.kind} demand `{victim.spec}` is not in the lock" in said


@pytest.mark.usefixtures("once")
@COUNTED
@given(data=st.data())
def test_any_answer_taken_from_a_demand_is_noticed(own: Locked, data: st.DataObject) -> None:
    """One id less in one demand; where another demand is answered by the same file, apt's plans tell it."""
    lock = own.lock
    victim = data.draw(st.sampled_from([demand for demand in lock.demands if demand.artifacts]))
    gone = data.draw(st.sampled_from(victim.artifacts))
    less = msgspec.structs.replace(victim, artifacts=tuple(one for one in victim.artifacts if one != gone))
    changed = Lock(
        lock.header, lock.images, tuple(less if one == victim else one for one in lock.demands), lock.artifacts
    )
    # Indexes are kept by the lock's digest: put there what `refresh` would have.
    place = own.factory / "indexes" / changed.digest
    validating_indexes = validating.build_indexes(changed, own.pool)
    for name, content in validating_indexes.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    try:
        said = gaps_of(own, changed)
    finally:
        shutil.rmtree(place)
    shared = any(gone in demand.artifacts for demand in lock.demands if demand != victim)
    assert gone in said or (shared and victim.kind == "tool"), (victim.where, gone, said)


@pytest.fixture(scope="module")
def marked(own: Locked, tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedDefinition, RenderedTree, Path]:
    """A rendering with a placeholder among the packages of an override."""
    root = tmp_path_factory.mktemp("marked")
    text = f"{{% extends parent_template %}}\n{{% set base_apt_packages_append = ['{MARK}'] %}}\n"
    write_definition(root / "definition", overrides={"more.j2": text})
    loaded = Locked(own.factory, root / "definition").loaded
    (python,) = (own.factory / "cache/kolla").glob("*/bin/python")
    return loaded, gathering.render(KollaEnvironment(python), loaded, "x86_64", "upstream", root / "tree"), python


NAMES = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=8).flatmap(
    lambda head: st.text(string.ascii_lowercase + string.digits + "+.-", min_size=1, max_size=20).map(head.__add__)
)


@COUNTED
@given(names=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_any_package_added_by_an_override_is_named(
    own: Locked, marked: tuple[LoadedDefinition, RenderedTree, Path], names: list[str]
) -> None:
    loaded, tree, python = marked
    held = own.lock
    known = {word for demand in held.demands for word in demand.spec.split()}
    if known & set(names):
        return

    def drawn(*_: object, **__: object) -> RenderedTree:
        images = tuple(
            msgspec.structs.replace(image, dockerfile=image.dockerfile.replace(MARK.encode(), " ".join(names).encode()))
            for image in tree.images
        )
        return msgspec.structs.replace(tree, images=images)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "render", drawn)
        gathered = gathering.gather(KollaEnvironment(python), loaded, "x86_64", tree.root)
        images = gathering.image_lines(gathered, tree)
    expected = Expected(loaded.digest, tuple(images), gathered.demands, required_tools(loaded))
    said = "\n".join(map(str, validating.prove_lock(held, expected)))
    assert "image base (x86_64), line" in said
    assert all(name in said for name in names), (names, said)
    assert f"(new: {' '.join(names)})" in said


def test_the_command_names_a_package_that_an_override_added(own: Locked, tmp_path: Path, define: Define) -> None:
    """The same as its user runs it, rendered for real."""
    text = "{% extends parent_template %}\n{% set base_apt_packages_append = ['vim'] %}\n"
    folder = define(overrides={"more.j2": text})
    save_lock(folder / "airlock.lock", own.lock)
    result = airlock("validate", "--factory", own.factory, folder)
    refused(result, 9, "(new: vim)", "image base (x86_64), line", "Run `airlock lock`")
