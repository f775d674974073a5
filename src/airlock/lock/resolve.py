"""``lock``: from a definition to a lock, and from there to the same lock again.

Everything that is asked of an upstream goes through the witness, so that ``check_lock`` can solve again offline and
must get the same bytes.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.core.errors import ResolutionError
from airlock.core.process import find_tool, run
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.fetch.frozen import Frozen
from airlock.fetch.upstreams import PYPI, addresses
from airlock.fetch.witness import Witness
from airlock.lock.git_repositories import wanted_repositories
from airlock.lock.model import Lock, make_lock
from airlock.lock.parts import Parts
from airlock.lock.shortfall import Refused
from airlock.lock.solver import Admit, Solver, anything
from airlock.store.pool import Pool


class Resolution(msgspec.Struct, frozen=True):
    """What a definition resolves to.

    Attributes:
        lock: None where an image is refused: there is no lock of a part.
        images: how many were to be locked, of all architectures.
        left_out: architecture → image that the definition selects and that is left out → why.
        refused: images that cannot be locked; only where going on was asked for.
    """

    lock: Lock | None
    images: int
    left_out: dict[str, dict[str, str]]
    refused: tuple[Refused, ...]


async def resolve_lock(
    loaded: LoadedDefinition,
    factory: Factory,
    reporter: Reporter,
    admit: Admit = anything,
    *,
    keep_going: bool = False,
    frozen: Frozen | None = None,
) -> Resolution:
    """Resolve a definition against the upstreams of today. The transcript lands in the pool.

    Args:
        frozen: answers of an earlier lock that hold (``lock.update`` decides which).
        admit: first told of the index that Kolla itself comes from, then of all that Kolla's files name.
        keep_going: find out about every image what cannot be locked, where otherwise the first refusal is raised.

    Raises:
        DefinitionError, UnclassifiedError, ResolutionError, UpstreamError, IntegrityError: see the resolvers.
    """
    distribution = loaded.definition.base.distribution
    if distribution not in ("debian", "ubuntu"):
        raise ResolutionError(
            f"{loaded.path}: packages of {distribution} cannot be resolved: this version has no solver for rpm",
            remedy="Take debian or ubuntu as base.distribution. What an image of this base asks for is shown by "
            "`airlock classify` on its rendered Dockerfile.",
        )
    pool = Pool(factory.pool)
    known = addresses(factory.settings.upstreams, {})
    admit({name: known[name] for name in (PYPI, *wanted_repositories(loaded.definition)) if name in known})
    with TemporaryDirectory(prefix="airlock-lock-") as name:
        work = Path(name)
        async with Witness.record(
            pool, known, factory.settings.fetch, socket=work / "witness.sock", frozen=frozen
        ) as witness:
            solver = Solver(loaded, factory, witness, pool, work, reporter, admit=admit, keep_going=keep_going)
            parts = await solver.solve()
            transcript = pool.add_bytes(witness.transcript())
    lock = None if solver.refused else _lock(loaded, parts, transcript)
    return Resolution(lock, solver.images, solver.left_out, tuple(solver.refused))


async def check_lock(loaded: LoadedDefinition, factory: Factory, lock: Lock, reporter: Reporter) -> list[str]:
    """Solve again, offline, against what the lock was solved against.

    Returns:
        How the result differs; nothing when the bytes are the same.

    Raises:
        IntegrityError: what the lock was solved against is not whole in the pool.
    """
    pool = Pool(factory.pool)
    with TemporaryDirectory(prefix="airlock-check-") as name:
        work = Path(name)
        async with Witness.replay(pool, lock.header.witness, socket=work / "witness.sock") as witness:
            parts = await Solver(loaded, factory, witness, pool, work, reporter, again=True).solve()
            unanswered = [
                f"asks for {question}, which nobody asked when it was locked" for question in witness.unanswered
            ]
    found = differences(lock.to_bytes(), _lock(loaded, parts, lock.header.witness).to_bytes())
    # uv asks ahead, by timing: a question more is no difference as long as the answer is the same.
    return unanswered + found if found else []


def differences(old: bytes, new: bytes) -> list[str]:
    """Lines that are in one lock alone, as a diff shows them."""
    before, after = old.decode().splitlines(), new.decode().splitlines()
    gone, come = set(before) - set(after), set(after) - set(before)
    return [f"- {line}" for line in before if line in gone] + [f"+ {line}" for line in after if line in come]


def solver_versions() -> dict[str, str]:
    """The solvers of this machine: the same bytes are promised only where these are the same."""
    words = run([find_tool("apt-get", "apt"), "--version"], check=True).stdout.decode().split()
    return {"apt": words[1], "uv": version("uv")}


def _lock(loaded: LoadedDefinition, parts: Parts, transcript: str) -> Lock:
    return make_lock(
        release=loaded.definition.name,
        definition=loaded.digest,
        kolla=parts.kolla,
        witness=transcript,
        requires=solver_versions(),
        images=parts.images,
        demands=parts.demands,
        artifacts=parts.artifacts,
    )
