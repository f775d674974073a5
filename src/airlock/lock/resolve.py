"""``lock``: from a definition to a lock. The one place where the resolvers meet.

Everything that is asked of an upstream goes through the witness, so that ``check_lock`` can solve again offline and must
get the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.core.canonical import canonical
from airlock.core.errors import ResolutionError
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.fetch.upstreams import addresses
from airlock.fetch.witness import Witness
from airlock.kolla.environment import KollaEnvironment
from airlock.lock.apt_images import resolve_apt
from airlock.lock.apt_resolver import AptResolver
from airlock.lock.gather import Gathered, gather, image_lines, render_sealed, sealed_sources
from airlock.lock.indexes import STANZAS, AptIndexes
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock
from airlock.lock.python_images import PythonImages
from airlock.lock.sources import resolve_sources
from airlock.lock.tools import kolla_environment, resolve_tools
from airlock.store.pool import Pool

UPSTREAMS = "upstreams"
"""Kept name of the addresses that Kolla's own files gave: {name: address}; ``refresh`` needs no Kolla then."""


class _Parts(msgspec.Struct):
    """What has been resolved so far."""

    images: list[Image] = []
    demands: list[Demand] = []
    artifacts: list[Artifact] = []

    def add(self, demands: list[Demand], artifacts: list[Artifact]) -> None:
        self.demands += demands
        self.artifacts += artifacts


async def resolve_lock(loaded: LoadedDefinition, factory: Factory, reporter: Reporter) -> Lock:
    """Resolve a definition against the upstreams of today. The transcript lands in the pool.

    Raises:
        DefinitionError, UnclassifiedError, ResolutionError, UpstreamError, IntegrityError: see the resolvers.
    """
    pool = Pool(factory.pool)
    known = addresses(factory.settings.upstreams, {})
    with TemporaryDirectory(prefix="airlock-lock-") as name:
        work = Path(name)
        async with Witness.record(pool, known, factory.settings.fetch, socket=work / "witness.sock") as witness:
            parts, kolla = await _resolve(loaded, factory, witness, pool, work, reporter)
            transcript = pool.add_bytes(witness.transcript())
    return _lock(loaded, parts, kolla, transcript)


async def check_lock(loaded: LoadedDefinition, factory: Factory, lock: Lock, reporter: Reporter) -> list[str]:
    """Solve again, offline, against what the lock was solved against; returns how the result differs (nothing: same bytes).

    Raises:
        IntegrityError: what the lock was solved against is not whole in the pool.
    """
    pool = Pool(factory.pool)
    with TemporaryDirectory(prefix="airlock-check-") as name:
        work = Path(name)
        async with Witness.replay(pool, lock.header.witness, socket=work / "witness.sock") as witness:
            parts, kolla = await _resolve(loaded, factory, witness, pool, work, reporter)
            missing = [
                f"asked for {question}, which was not asked when the lock was made" for question in witness.unanswered
            ]
    again = _lock(loaded, parts, kolla, lock.header.witness).to_bytes()
    return missing + differences(lock.to_bytes(), again)


def differences(old: bytes, new: bytes) -> list[str]:
    """Lines that are in one lock alone, as a diff shows them."""
    before, after = old.decode().splitlines(), new.decode().splitlines()
    return [f"- {line}" for line in before if line not in set(after)] + [
        f"+ {line}" for line in after if line not in set(before)
    ]


def _lock(loaded: LoadedDefinition, parts: _Parts, kolla: Mapping[str, str], transcript: str) -> Lock:
    return make_lock(
        release=loaded.definition.name,
        definition=loaded.digest,
        kolla=dict(kolla),
        witness=transcript,
        requires={},
        images=parts.images,
        demands=parts.demands,
        artifacts=parts.artifacts,
    )


async def _resolve(
    loaded: LoadedDefinition, factory: Factory, witness: Witness, pool: Pool, work: Path, reporter: Reporter
) -> tuple[_Parts, dict[str, str]]:
    parts = _Parts([], [], [])
    reporter.say("tools: Kolla, the engine's client and Airlock itself")
    tools = await resolve_tools(loaded, witness, pool, factory, work)
    parts.add(tools.demands, tools.artifacts)
    python = await kolla_environment(tools, pool, factory.cache / "kolla")
    environment = KollaEnvironment(python)
    stanzas: dict[str, str] = {}
    releases: dict[str, dict[str, str]] = {}
    sources = []
    upstreams: dict[str, str] = {}
    for arch in loaded.definition.base.architectures:
        reporter.say(f"{arch}: rendering Kolla and reading its Dockerfiles")
        gathered = gather(environment, loaded, arch, work)
        upstreams |= gathered.tree.upstreams
        for name, address in gathered.tree.upstreams.items():
            if name not in factory.settings.upstreams:
                witness.add_upstream(name, address)
        resolver = _apt_resolver(gathered, factory, witness, work)
        resolver.update()
        sources = list(resolver.sources)
        releases |= resolver.releases
        plans = resolve_apt(gathered, resolver, reporter)
        for result in plans.values():
            parts.add(result.demands, result.artifacts)
            stanzas |= result.stanzas
        found = await resolve_sources(loaded, gathered, witness, pool)
        parts.add(found.demands, found.artifacts)
        images = PythonImages(loaded, gathered, witness, pool, found, work / f"python-{arch}")
        for image in gathered.tree.images:
            result = await images.resolve(image.name, plans[image.name].state, reporter)
            parts.add(result.demands, result.artifacts)
        parts.demands += [demand for demand in gathered.demands if demand.kind == "vendor-repository"]
        answers = sealed_sources(found.demands, {artifact.id: artifact for artifact in found.artifacts})
        sealed = render_sealed(environment, loaded, arch, work, answers)
        parts.images += image_lines(gathered, sealed, loaded.definition.base.distribution)
        _all_answered(gathered, parts)
    witness.keep(UPSTREAMS, canonical(upstreams))
    witness.keep(STANZAS, canonical(AptIndexes(stanzas, releases, sources)))
    return parts, tools.kolla


def _apt_resolver(gathered: Gathered, factory: Factory, witness: Witness, work: Path) -> AptResolver:
    settings = factory.settings.apt
    default = f"/usr/share/keyrings/{gathered.distribution}-archive-keyring.gpg"
    return AptResolver(
        root=work / f"apt-{gathered.arch}",
        sources=gathered.apt_sources,
        addresses=witness.url,
        keyrings=[Path(name) for name in settings.keyrings or [default]],
        debian_arch=DEBIAN_ARCHITECTURES[gathered.arch],
        check_valid_until=settings.check_valid_until,
    )


def _all_answered(gathered: Gathered, parts: _Parts) -> None:
    """What was asked for is what was answered, word for word.

    Raises:
        ResolutionError: a resolver and the reading of the Dockerfiles disagree, which is a fault of Airlock's own.
    """
    answered = {demand.key for demand in parts.demands}
    missing = [demand for demand in gathered.demands if demand.key not in answered]
    if missing:
        lines = [f"{demand.where}: {demand.kind} `{demand.spec}` was left without an answer" for demand in missing]
        raise ResolutionError("\n".join(lines), remedy="Please report this with the definition.")
