"""One solving of a definition, recorded or replayed: the one place where the resolvers meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from airlock.core.canonical import canonical
from airlock.core.errors import ResolutionError
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.fetch.upstreams import KEPT, PYPI, addresses
from airlock.fetch.witness import Witness
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.render import OPENDEV
from airlock.lock.apt_images import resolve_apt
from airlock.lock.apt_resolver import AptResolver
from airlock.lock.apt_root import merge_sources
from airlock.lock.base_reference import fetch_bases, registries
from airlock.lock.contents import Contents
from airlock.lock.downloads import DownloadsResult, asked_downloads, resolve_downloads
from airlock.lock.ecosystem import Answers, Ground
from airlock.lock.ecosystems import ECOSYSTEMS, FACTS, asked_indexes
from airlock.lock.extrepo import ExtrepoResult, resolve_extrepo
from airlock.lock.gather import Gathered, gather, image_lines, render_sealed, require_sealed
from airlock.lock.git_repositories import KOLLA, resolve_repositories, wanted_repositories
from airlock.lock.indexes import STANZAS, AptIndexes
from airlock.lock.keys import asked_keys, keyrings, resolve_keys
from airlock.lock.model import Artifact
from airlock.lock.parts import Parts
from airlock.lock.plans import Plans
from airlock.lock.python_chain import PythonChain
from airlock.lock.python_files import GLIBC
from airlock.lock.python_resolver import PythonResolver
from airlock.lock.shortfall import Refused, Shortfall
from airlock.lock.sources import SourcesResult, asked_upstreams, resolve_sources
from airlock.lock.stand_ins import marked, stand_in_names
from airlock.lock.tools import resolve_tools, tools_environment
from airlock.lock.vendor_indexes import fetch_indexes, with_keys
from airlock.store.pool import Pool

_T = TypeVar("_T")
_Answers = SourcesResult | DownloadsResult | ExtrepoResult | Answers

Admit = Callable[[Mapping[str, str]], None]
"""Told the addresses of the upstreams in use before they are asked; called again where more become known."""


def anything(_: Mapping[str, str]) -> None:
    """No window to go through."""


class Solver:
    """One solving of a definition, recorded or replayed."""

    def __init__(
        self,
        loaded: LoadedDefinition,
        factory: Factory,
        witness: Witness,
        pool: Pool,
        work: Path,
        reporter: Reporter,
        *,
        again: bool = False,
        admit: Admit = anything,
        keep_going: bool = False,
    ) -> None:
        self._again, self._admit, self._keep_going = again, admit, keep_going
        self.images = 0
        self.left_out: dict[str, dict[str, str]] = {}
        self.refused: list[Refused] = []
        self._loaded, self._factory, self._witness = loaded, factory, witness
        self._pool, self._work, self._reporter = pool, work, reporter

    async def solve(self) -> Parts:
        """Everything: tools, then architecture by architecture."""
        definition = self._loaded.definition
        if wanted := wanted_repositories(definition):
            self._reporter.say(f"git: {', '.join(wanted)}")
        repositories = await resolve_repositories(
            definition, self._factory.settings.upstreams, self._witness, self._pool, self._work
        )
        self._reporter.say("tools: Kolla, the engine's client, Airlock itself")
        _, kolla = repositories[KOLLA] if definition.kolla.source == "git" else (None, None)
        tools = await resolve_tools(self._loaded, self._witness, self._pool, self._socket, self._work, kolla)
        parts = Parts([], list(tools.demands), list(tools.artifacts), AptIndexes({}, {}, []), {}, {}, tools.kolla)
        for demand, artifact in repositories.values():
            parts.add([demand], [artifact])
        content = {artifact.sha256: self._pool.path(artifact.sha256) for artifact in tools.artifacts}
        python = await tools_environment(
            tools.artifacts, lambda found: content[found.sha256], self._factory.cache / "kolla"
        )
        environment = KollaEnvironment(python)
        for arch in definition.base.architectures:
            await self._architecture(environment, arch, parts)
        self._witness.keep(KEPT, canonical(parts.upstreams))
        self._witness.keep(FACTS, canonical(parts.facts))
        self._witness.keep(STANZAS, canonical(parts.apt))
        parts.artifacts = marked(parts.artifacts, stand_in_names(self._witness, self._factory.settings.upstreams))
        return parts

    @property
    def _socket(self) -> Path:
        return self._work / "witness.sock"

    async def _architecture(self, environment: KollaEnvironment, arch: str, parts: Parts) -> None:
        shortfall = Shortfall(arch, keep_going=self._keep_going)
        gathered = await self._gather(environment, arch, parts, shortfall)
        settled = tuple(self._factory.settings.upstreams)
        sources = resolve_sources(self._loaded, gathered, self._witness, self._pool, settled, shortfall)
        async with self._beside(sources) as resolving:
            files = await resolve_downloads(gathered.demands, self._witness, settled, shortfall)
            keys = await resolve_keys(gathered.demands, self._witness, self._pool, settled, shortfall)
            by_extrepo = await self._extrepo(gathered, parts, shortfall)
            gathered = msgspec.structs.replace(gathered, by_extrepo=by_extrepo.texts)
            fetched: list[_Answers] = [files, keys, by_extrepo]
            found_keys = keyrings(gathered.readings, keys.demands, _by_id(fetched), self._pool, shortfall.keys)
            rings = with_keys(gathered.vendors, found_keys, shortfall) | by_extrepo.keyrings
            resolver = self._apt_resolver(gathered, rings, parts, shortfall)
            await fetch_indexes(resolver, gathered.vendors, self._witness, shortfall)
            found = await resolving
            fetched.append(found)
        downloads = {url: self._pool.path(file.sha256) for url, file in files.by_address.items()}
        contents = Contents(gathered, found.archives, downloads)
        plans, python = Plans(gathered.tree.by_name, together=self._keep_going), self._python_resolver(arch)
        chain = PythonChain(gathered, plans, contents, python, self._witness, self._pool)
        async with chain.asking(shortfall):  # Python begins where apt has ended, image by image
            await self._packages(resolver, gathered, plans, parts, shortfall)
            parts.add(*await chain.answers(self._reporter))
        ending = asyncio.create_task(asyncio.to_thread(python.end))
        known = {name: table.address for name, table in self._factory.settings.upstreams.items()}
        ground = Ground(gathered, contents, plans.found, self._witness, self._pool, shortfall, known)
        small = [await ecosystem.resolve(ground) for ecosystem in ECOSYSTEMS]
        for answered in small:
            parts.facts |= answered.facts
        for one in [*fetched, *small]:
            parts.add(list(one.demands), list(one.artifacts))
            parts.upstreams |= one.upstreams
        self.refused += shortfall.refused
        if not shortfall.refused:
            await self._seal(environment, gathered, [*fetched, *small], parts)
        await ending

    @asynccontextmanager
    async def _beside(self, work: Coroutine[Any, Any, _T]) -> AsyncIterator[asyncio.Task[_T]]:
        """Work beside other work; not where going on is wanted: what is said of an image would depend on which of them
        found it wanting first.
        """
        task = asyncio.create_task(work)
        try:
            if self._keep_going:
                await asyncio.wait([task])
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _gather(self, environment: KollaEnvironment, arch: str, parts: Parts, shortfall: Shortfall) -> Gathered:
        """Render and read; then whom this architecture will ask is known, and let in."""
        self._reporter.say(f"{arch}: rendering Kolla and reading its Dockerfiles")
        noted = shortfall if self._keep_going else None
        gathered = await asyncio.to_thread(gather, environment, self._loaded, arch, self._work, noted)
        self.images += len(gathered.tree.images)
        self.left_out[arch] = gathered.tree.left_out
        vendors = {source.upstream: source.address for source in gathered.vendors}
        self._meet(gathered.tree.upstreams | vendors | registries(gathered.demands), parts)
        if self._witness.live:  # solving again takes what the pool holds
            settings = self._factory.settings
            known = addresses(settings.upstreams, parts.upstreams)
            self._admit(self._asked(gathered, known))
            await asyncio.to_thread(fetch_bases, gathered.demands, self._pool, known, settings.fetch)
        return gathered

    async def _extrepo(self, gathered: Gathered, parts: Parts, shortfall: Shortfall) -> ExtrepoResult:
        """Repositories that extrepo enables: the distribution's own packages say where their data are."""

        async def first() -> AptResolver:
            alone = msgspec.structs.replace(gathered, vendors=())
            resolver = self._apt_resolver(alone, {}, parts, shortfall, "first")
            await fetch_indexes(resolver, (), self._witness, shortfall)
            return resolver

        def learn(upstreams: Mapping[str, str]) -> None:
            self._meet(upstreams, parts)
            if self._witness.live:
                known = addresses(self._factory.settings.upstreams, upstreams)
                self._admit({name: known[name] for name in upstreams})

        return await resolve_extrepo(gathered, first, learn, self._witness, self._pool, shortfall)

    async def _packages(
        self, resolver: AptResolver, gathered: Gathered, plans: Plans, parts: Parts, shortfall: Shortfall
    ) -> None:
        """What apt does in each image."""
        given = (gathered, resolver, self._pool, self._reporter, shortfall, plans.put)
        await asyncio.to_thread(resolve_apt, *given)
        plans.complete()
        for plan in plans.found.values():
            parts.add(plan.demands, plan.artifacts)
            parts.apt.stanzas.update(plan.stanzas)
        parts.apt.releases.update(resolver.releases)
        parts.apt.sources[:] = merge_sources([*parts.apt.sources, *resolver.sources])

    async def _seal(
        self, environment: KollaEnvironment, gathered: Gathered, answers: list[_Answers], parts: Parts
    ) -> None:
        """Render what the room will build, every address led to the mirror, and take down its digests."""
        parts.demands += [demand for demand in gathered.demands if demand.kind == "vendor-repository" and demand.note]
        demands, by_id = [demand for one in answers for demand in one.demands], _by_id(answers)
        arguments = (self._loaded, gathered.arch, self._work, demands, by_id)
        sealed = await asyncio.to_thread(render_sealed, environment, *arguments)
        require_sealed(sealed)
        parts.images += image_lines(gathered, sealed)
        _all_answered(gathered, parts)

    def _python_resolver(self, arch: str) -> PythonResolver:
        definition = self._loaded.definition
        return PythonResolver(
            witness=self._witness,
            socket=self._socket,
            pool=self._pool,
            constraints=self._loaded.files[definition.sources.constraints].decode(),
            pins=definition.python.pins,
            build_pins=definition.python.build_pins,
            arch=arch,
            glibc=GLIBC[definition.base.release],
            work=self._work / f"python-{arch}",
        )

    def _asked(self, gathered: Gathered, known: Mapping[str, str]) -> dict[str, str]:
        """Addresses of the upstreams that this architecture will ask; not all that Kolla's files name are."""
        sources = asked_upstreams(self._loaded, gathered, self._witness, self._pool)
        listed = {name for name in gathered.tree.upstreams if name != OPENDEV} | set(registries(gathered.demands))
        listed |= {source.upstream for source in gathered.vendors}
        addressed = sources | dict(known)
        asked = {name: addressed[name] for name in {PYPI, KOLLA, *listed, *sources} if name in addressed}
        asked |= asked_keys(gathered.demands, known)
        return asked | asked_downloads(gathered.demands, known) | asked_indexes(gathered.demands, known)

    def _meet(self, upstreams: Mapping[str, str], parts: Parts) -> None:
        """Upstreams that Kolla's own files name, where the settings name none."""
        parts.upstreams |= upstreams
        for name, address in upstreams.items():
            if name not in self._factory.settings.upstreams:
                self._witness.add_upstream(name, address)

    def _apt_resolver(
        self, gathered: Gathered, keys: Mapping[str, Path], parts: Parts, shortfall: Shortfall, which: str = "apt"
    ) -> AptResolver:
        settings = self._factory.settings.apt
        names = {"ubuntu": ["ubuntu-archive", "ubuntu-cloud"]}.get(gathered.distribution, ["debian-archive"])
        default = [f"/usr/share/keyrings/{name}-keyring.gpg" for name in names]
        return AptResolver(
            root=self._work / f"{which}-{gathered.arch}",
            sources=[source for source in gathered.apt_sources if source.upstream not in shortfall.vendors],
            addresses=self._witness.url,
            keyrings=[Path(name) for name in settings.keyrings or default],
            keys=keys,
            idents={(one.sha256, one.upstream): one.id for one in parts.artifacts if one.kind == "deb"},
            debian_arch=DEBIAN_ARCHITECTURES[gathered.arch],
            check_valid_until=settings.check_valid_until,
            # Solved again, nothing may depend on today's date: signatures were checked when the lock was made, and
            # what is read now has the sha256 that the transcript names.
            trusted=self._again,
            dated=self._witness.frozen.dated if self._witness.frozen else (),
        )


def _by_id(answers: list[_Answers]) -> dict[str, Artifact]:
    return {artifact.id: artifact for one in answers for artifact in one.artifacts}


def _all_answered(gathered: Gathered, parts: Parts) -> None:
    """What was asked for is what was answered, word for word.

    Raises:
        ResolutionError: a resolver and the reading of the Dockerfiles disagree, which is a fault of Airlock's own.
    """
    answered = {demand.key for demand in parts.demands}
    missing = [demand for demand in gathered.demands if demand.key not in answered]
    if missing:
        lines = [f"{demand.where}: {demand.kind} `{demand.spec}` was left without an answer" for demand in missing]
        raise ResolutionError("\n".join(lines), remedy="Please report this with the definition.")
