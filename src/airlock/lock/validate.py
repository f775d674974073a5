"""``validate``: gather what the definition asks for now, and prove the factory's lock, pool and indexes against it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.core.errors import AirlockError
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.apt_images import prove_plans
from airlock.lock.gather import Gathered, expectation
from airlock.lock.indexes import build_indexes, read_indexes
from airlock.lock.model import Lock
from airlock.lock.proof import RELOCK, Gap, prove_indexes, prove_lock, prove_presence, unanswered, wanted_by
from airlock.lock.python_proof import prove_python
from airlock.lock.stand_ins import Proven, mismarked, proven
from airlock.lock.tools import required_tools, tool_artifacts, tools_environment
from airlock.store.pool import Pool


class Proof(msgspec.Struct, frozen=True):
    """What ``validate`` found.

    Attributes:
        gaps: what is missing or wrong; empty when the proof holds.
        images, demands, artifacts, size: what was proved (size in bytes).
        proven: how many of the images stand on real inputs, how many on stand-ins.
        left_out: architecture → image that the definition selects and that is left out → why.
    """

    gaps: tuple[Gap, ...]
    images: int
    demands: int
    artifacts: int
    size: int
    proven: Proven
    left_out: dict[str, dict[str, str]] = {}

    @property
    def holds(self) -> bool:
        """Whether nothing is missing."""
        return not self.gaps


async def validate(lock: Lock, loaded: LoadedDefinition, factory: Factory, reporter: Reporter) -> Proof:
    """Prove a lock complete against the factory's pool and indexes.

    Raises:
        DefinitionError, UnclassifiedError: the definition cannot be rendered or read; no proof was possible.
    """
    pool = Pool(factory.pool)
    gaps: list[Gap] = []
    with TemporaryDirectory(prefix="airlock-validate-") as name:
        work = Path(name)
        gaps += prove_presence(
            lock.artifacts, lambda found: pool.check(found.sha256, found.size), wanted_by(lock), reporter
        )
        try:
            content = {found.sha256: pool.path(found.sha256) for found in lock.artifacts}
            tools = tool_artifacts(lock)
            python = await tools_environment(tools, lambda found: content[found.sha256], factory.cache / "kolla")
        except AirlockError as error:
            gaps.append(Gap("tool", f"Kolla's environment cannot be made: {error.message}", "Run `airlock refresh`."))
            return _proof(lock, [*gaps, *unanswered(lock)])
        if any(demand.kind == "tool" and not demand.artifacts for demand in lock.demands):
            return _proof(lock, [*gaps, *unanswered(lock)])  # what lacks that cannot render
        environment = KollaEnvironment(python)
        reporter.say("rendering Kolla and reading its Dockerfiles")
        expected, gathered, _ = expectation(environment, loaded, lock, required_tools(loaded), work)
        gaps += prove_lock(lock, expected)
        gaps += _labels(lock, loaded, pool)
        gaps += _indexes(lock, pool, factory, gathered, work, reporter)
        left_out = {arch: asked.tree.left_out for arch, asked in gathered.items()}
    return _proof(lock, gaps, left_out)


def _labels(lock: Lock, loaded: LoadedDefinition, pool: Pool) -> list[Gap]:
    """What reports repeat of the lock is so: the release, Kolla's version, which artifacts are of stand-ins."""
    gaps: list[Gap] = []
    definition, header = loaded.definition, lock.header
    if header.release != definition.name:
        gaps.append(Gap("lock", f"is for the release {header.release!r}, not {definition.name!r}", RELOCK))
    said: dict[str, str] = {"source": definition.kolla.source}
    if definition.kolla.source == "pypi":
        said["version"] = definition.kolla.version
    for name, value in said.items():
        if header.kolla.get(name) != value:
            gaps.append(
                Gap("lock", f"its header says Kolla's {name} is {header.kolla.get(name)!r}, not {value!r}", RELOCK)
            )
    try:
        gaps += [Gap(f"artifact {one.id}", what, RELOCK, one.id) for one, what in mismarked(lock, pool)]
    except AirlockError as error:
        gaps.append(Gap("lock", error.message, RELOCK))
    return gaps


def _indexes(
    lock: Lock, pool: Pool, factory: Factory, gathered: Mapping[str, Gathered], work: Path, reporter: Reporter
) -> list[Gap]:
    """The indexes on disk are those of the lock; apt, solving from them alone, comes to the locked plans; and Python's
    closure is whole on what apt leaves.
    """
    try:
        wanted = build_indexes(lock, pool)
    except AirlockError as error:
        return [Gap("indexes", f"cannot be made: {error.message}", "Run `airlock lock`, then `airlock refresh`.")]
    held = read_indexes(factory.indexes / lock.digest)
    gaps = prove_indexes(held, wanted)
    if not gaps:
        reporter.say("solving every image's packages again from the bundle's own index")
        for arch, asked in gathered.items():
            found, plans = prove_plans(lock, asked, held, pool, work / f"plans-{arch}", reporter)
            gaps += found
            if plans:
                gaps += prove_python(lock, asked, plans, pool)
    return gaps


def _proof(lock: Lock, gaps: list[Gap], left_out: dict[str, dict[str, str]] | None = None) -> Proof:
    size = sum(artifact.size for artifact in lock.artifacts)
    counts = (len(lock.images), len(lock.demands), len(lock.artifacts))
    return Proof(tuple(sorted(set(gaps))), *counts, size, proven(lock), left_out or {})
