"""Seeded faults in the real lock of every image: what is taken away or altered is named, and nothing else, every time.

Shown: 500 faults in files, entries of indexes, lines of the lock and answers of demands, each alone. Kolla is rendered,
apt solves and the indexes are made once; then each case calls those comparisons of ``validate`` that read what it
harms, on all of the lock (Python's closure: on the image and its ancestors). A lock that is altered stands for one
whose indexes were refreshed after that; without, each of them is named as missing.

Not shown: that the command puts these comparisons together, which tests/integration/faults/test_proof.py does on a
smaller lock; an altered label of an artifact (name, path, upstream), which is not what it is. A demand may lack an
answer of pip's unseen where another demand has it and no wheel says that it is required: it is on the media all the
same, and ``lock --check`` tells.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.all_world import ARCH
from tests.vendor_world import World

from airlock.core.progress import SilentReporter
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.apt_images import plan_gaps, prove_plans
from airlock.lock.apt_resolver import AptResult
from airlock.lock.gather import Gathered, expectation
from airlock.lock.indexes import build_indexes, read_indexes
from airlock.lock.model import Artifact, Demand, Image, Lock, read_lock
from airlock.lock.proof import Expected, Gap, prove_indexes, prove_lock, prove_presence, wanted_by
from airlock.lock.python_proof import prove_python
from airlock.lock.python_requires import read_project
from airlock.lock.survey import ancestry, parents_of
from airlock.lock.tools import required_tools, tool_artifacts, tools_environment
from airlock.store.pool import Pool

pytestmark = pytest.mark.full
QUIET = SilentReporter()
OTHER = f"{99_999_999:064x}"


class Ground(msgspec.Struct):
    """What all cases stand on. ``pool`` is a copy by hard links, whose files are taken away and put back."""

    lock: Lock
    pool: Pool
    expected: Expected
    gathered: Gathered
    plans: dict[str, AptResult]
    held: dict[str, bytes]
    wanted: dict[str, bytes]

    def lines(self) -> list[bytes]:
        return self.lock.to_bytes().splitlines(keepends=True)

    def answered(self) -> Counter[str]:
        return Counter(ident for demand in self.lock.demands for ident in demand.artifacts)

    def closure(self, lock: Lock, image: str) -> list[Gap]:
        """Python's closure of an image and its ancestors."""
        chain = {key[1] for key in ancestry(parents_of(self.lock), (ARCH, image))}
        images = tuple(one for one in self.gathered.tree.images if one.name in chain)
        tree = msgspec.structs.replace(self.gathered.tree, images=images)
        return prove_python(lock, msgspec.structs.replace(self.gathered, tree=tree), self.plans, self.pool)


@pytest.fixture(scope="module")
def ground(whole_world: World, whole_lock: Lock, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    lock, factory = whole_lock, load_factory(whole_world.factory)
    loaded, whole = load_definition(whole_world.definition), Pool(factory.pool)
    pool, work = Pool(tmp_path_factory.mktemp("faults", numbered=False) / "pool"), tmp_path_factory.mktemp("ground")
    for found in lock.artifacts:
        put_back(whole.path(found.sha256), pool.path(found.sha256))
    python = asyncio.run(
        tools_environment(tool_artifacts(lock), lambda one: whole.path(one.sha256), factory.cache / "kolla")
    )
    tools = required_tools(loaded)
    expected, gathered, _ = expectation(KollaEnvironment(python), loaded, lock, tools, work / "rendered")
    held = read_indexes(factory.indexes / lock.digest)
    gaps, plans = prove_plans(lock, gathered[ARCH], held, whole, work / "plans", QUIET)
    made = Ground(lock, pool, expected, gathered[ARCH], plans, held, build_indexes(lock, whole))
    gaps += prove_lock(lock, expected) + prove_indexes(held, made.wanted)
    assert gaps + prove_python(lock, made.gathered, plans, pool) == []
    return made


def put_back(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    os.link(source, place)


def one_of_a_kind(draw: random.Random, lock: Lock) -> Artifact:
    """Keys, collections and gems are few among packages: each kind is as likely."""
    kind = draw.choice(sorted({one.kind for one in lock.artifacts}))
    return draw.choice([one for one in lock.artifacts if one.kind == kind])


@pytest.mark.parametrize("seed", range(100))
def test_any_file_that_is_gone_cut_or_altered_is_named(ground: Ground, whole_world: World, seed: int) -> None:
    draw = random.Random(seed)
    victim = one_of_a_kind(draw, ground.lock)
    path = ground.pool.path(victim.sha256)
    data = bytearray(path.read_bytes())
    path.unlink()
    how = draw.choice(["gone", "cut", "altered"])
    if how == "cut":
        path.write_bytes(data[: draw.randrange(len(data))])
    elif how == "altered":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
    wanted = wanted_by(ground.lock)
    gaps = prove_presence(ground.lock.artifacts, lambda one: ground.pool.check(one.sha256, one.size), wanted, QUIET)
    put_back(Pool(load_factory(whole_world.factory).pool).path(victim.sha256), path)
    same = [one.id for one in ground.lock.artifacts if one.sha256 == victim.sha256]
    assert [(gap.artifact, gap.where) for gap in gaps] == [(ident, wanted[ident]) for ident in same]


@pytest.mark.parametrize("seed", range(120))
def test_any_entry_of_an_index_that_is_gone_or_altered_is_named(ground: Ground, seed: int) -> None:
    draw = random.Random(seed)
    held = dict(ground.held)
    packages = sorted(name for name in held if name.endswith("/Packages"))
    name = draw.choice(packages if seed % 2 else sorted(held))
    separator = b"\n\n" if name in packages else b"\n"
    entries = held[name].split(separator)
    at = draw.randrange(len(entries))
    entry = entries[at]
    how = draw.choice(["gone", "altered", "whole"])
    if how == "whole":
        del held[name]
    elif how == "gone" and len(entries) > 1:
        held[name] = separator.join(entries[:at] + entries[at + 1 :])
    else:
        place = draw.randrange(len(entry)) if entry else 0
        entries[at] = entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :] if entry else b"x"
        held[name] = separator.join(entries)
    (gap,) = prove_indexes(held, ground.wanted)
    assert gap.where == f"index {name}"
    if how != "whole" and entry.strip() and ground.wanted[name].split(separator).count(entry) == 1:
        assert entry.decode("utf-8", "replace").strip().splitlines()[0][:120] in gap.what


def about(line: Image | Demand | Artifact, gap: Gap) -> bool:
    """Whether a gap is about that line, or the counts of the header."""
    if gap.where == "lock" and gap.what.startswith("its header says"):
        return True
    if isinstance(line, Image):
        return gap.where == f"image {line.name} ({line.arch})"
    if isinstance(line, Artifact):
        return line.id in (gap.artifact, *gap.where.split()) or f"{line.id}x" in gap.where or line.id in gap.what
    orphans = {f"artifact {ident}" for ident in line.artifacts}
    return gap.where in orphans or line.spec in gap.what or gap.where == line.where


@pytest.mark.parametrize("seed", range(80))
def test_any_line_of_the_lock_that_is_gone_is_named(ground: Ground, seed: int) -> None:
    draw, lock, lines = random.Random(seed), ground.lock, ground.lines()
    among = draw.choice([lock.images, lock.demands, lock.artifacts])
    line: Image | Demand | Artifact = draw.choice(among)  # type: ignore[arg-type]
    number = 1 + [*lock.images, *lock.demands, *lock.artifacts].index(line)
    gaps = prove_lock(read_lock(b"".join(lines[:number] + lines[number + 1 :])), ground.expected)
    assert [gap for gap in gaps if not about(line, gap)] == []
    assert [gap for gap in gaps if gap.where != "lock"] != []


@pytest.mark.parametrize("seed", range(80))
def test_any_line_of_the_lock_that_is_altered_is_named(ground: Ground, seed: int) -> None:
    draw, lock = random.Random(seed), ground.lock
    images, demands, artifacts = list(lock.images), list(lock.demands), list(lock.artifacts)
    line: Image | Demand | Artifact
    if seed % 3 == 0:
        line = draw.choice(images)
        field = draw.choice(["parent", "base", "dockerfile", "context", "sealed"])
        images[images.index(line)] = msgspec.structs.replace(line, **{field: OTHER})
    elif seed % 3 == 1:
        line = draw.choice([one for one in demands if one.kind not in ("tool", "python-build")])
        change = draw.choice([{"line": 9999}, {"spec": f"{line.spec} --and-more"}])
        demands[demands.index(line)] = msgspec.structs.replace(line, **change)  # type: ignore[arg-type]
    else:
        line = one_of_a_kind(draw, lock)
        change = draw.choice([{"sha256": OTHER}, {"size": line.size + 1}, {"id": f"{line.id}x"}])
        artifacts[artifacts.index(line)] = msgspec.structs.replace(line, **change)  # type: ignore[arg-type]
    other = Lock(lock.header, tuple(images), tuple(demands), tuple(artifacts))
    gaps = prove_lock(other, ground.expected)
    if isinstance(line, Artifact):
        changed = [one for one in artifacts if one not in lock.artifacts]
        gaps += prove_presence(changed, lambda one: ground.pool.check(one.sha256, one.size), wanted_by(other), QUIET)
    assert [gap for gap in gaps if not about(line, gap)] == []
    assert [gap for gap in gaps if gap.where != "lock"] != []


def seen(ground: Ground, demand: Demand, answered: Counter[str]) -> list[str]:
    """The answers that no demand lacks unseen: apt's all; Python's that are in no other, or that a wheel requires."""
    if demand.kind not in ("python", "python-build", "tool"):
        return list(demand.artifacts)
    by_id = ground.lock.by_id
    found = [by_id[ident] for ident in demand.artifacts]
    wheels = [one for one in found if one.kind == "wheel" and demand.kind == "python"]
    texts = [text for one in wheels for text in read_project(ground.pool.path(one.sha256), one).requires]
    required = {canonicalize_name(wanted.name) for wanted in map(Requirement, texts) if wanted.marker is None}
    return [one.id for one in found if answered[one.id] == 1 or canonicalize_name(one.name) in required]


@pytest.mark.parametrize("seed", range(120))
def test_any_answer_that_a_demand_lacks_is_named_whoever_else_has_it(ground: Ground, seed: int) -> None:
    draw, lock, answered = random.Random(seed), ground.lock, ground.answered()
    kind = draw.choice(sorted({one.kind for one in lock.demands if one.artifacts}))
    victim = draw.choice([one for one in lock.demands if one.kind == kind and seen(ground, one, answered)])
    ident = draw.choice(seen(ground, victim, answered))
    less = msgspec.structs.replace(victim, artifacts=tuple(one for one in victim.artifacts if one != ident))
    demands = tuple(less if one is victim else one for one in lock.demands)
    other = Lock(lock.header, lock.images, demands, lock.artifacts)
    gaps = [*prove_lock(other, ground.expected), *plan_gaps(other, ground.plans)]
    if kind == "python":
        gaps += ground.closure(other, victim.image)
    named = [gap for gap in gaps if gap.where in (victim.where, f"artifact {ident}")]
    assert named != [], f"{victim.where}: {victim.spec} without {ident}"
    # A later command of the image may need it as well.
    name = canonicalize_name(lock.by_id[ident].name)
    assert [gap for gap in gaps if gap not in named and name not in canonicalize_name(gap.what)] == []
