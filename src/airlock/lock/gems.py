"""Kind ``gem``: Ruby gems by name, resolved as ``gem install`` does on the image's own Ruby."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import resolvelib

from airlock.core.errors import IntegrityError, ResolutionError
from airlock.lock.apt_python import fetch_debs
from airlock.lock.ecosystem import Answers, Ground, Index, RoomIndex, named
from airlock.lock.gem_index import Gem, GemIndex, room_index
from airlock.lock.gem_state import RubyFiles, RubyState, is_ruby, read_deb, ruby_state
from airlock.lock.gem_versions import (
    Bound,
    GemVersion,
    asks_for_prerelease,
    fits_platform,
    satisfied,
    shown,
)
from airlock.lock.model import Artifact, Demand, Kind, first_seen
from airlock.lock.sources_fetch import fetch

UPSTREAM = "rubygems"
_ROUNDS = 100_000
_ANY: tuple[Bound, ...] = ((">=", "0"),)


class Wanted(msgspec.Struct, frozen=True):
    """A gem and the bounds of its version; ``by`` whom, for messages."""

    name: str
    bounds: tuple[Bound, ...]
    by: str


class Candidate(msgspec.Struct, frozen=True):
    """A gem that may be taken; ``installed``: it is there already."""

    gem: Gem
    installed: bool


class Gems:
    """See ``Ecosystem``."""

    kind: Kind = "gem"
    upstream = UPSTREAM

    async def resolve(self, ground: Ground) -> Answers:
        """See ``Ecosystem``."""
        demands: list[Demand] = []
        artifacts: dict[str, Artifact] = {}
        facts: dict[str, Any] = {}
        debs: dict[str, RubyFiles] = {}
        pages: GemIndex | None = None
        for question, names in named(ground, self.kind):
            demand = question.demand
            with ground.shortfall.of(demand.image):
                pages = pages or GemIndex(Index(ground, UPSTREAM, "an index of Ruby gems", demand.where))
                state = await _state(ground, demand, question.command.argv[0].rpartition("/")[2], debs)
                gems = await asyncio.to_thread(resolve_gems, pages, names, state, ground.gathered.arch, demand.where)
                own = [await _artifact(ground, gem, demand) for gem in gems]
                installed = sorted({gem.name for gem in state.installed})
                artifacts |= {artifact.id: artifact for artifact in own}
                for artifact, gem in zip(own, gems, strict=True):
                    known = facts.get(artifact.id, {}).get("installed", [])
                    facts[artifact.id] = {"gem": gem, "installed": sorted({*known, *installed})}
                demands.append(msgspec.structs.replace(demand, artifacts=tuple(sorted(one.id for one in own))))
        return Answers(tuple(demands), tuple(artifacts.values()), {}, facts)

    def index(self, artifacts: Sequence[Artifact], facts: Mapping[str, Any], address: str) -> RoomIndex:
        """See ``Ecosystem``."""
        return room_index(artifacts, facts)


async def _state(ground: Ground, demand: Demand, program: str, debs: dict[str, RubyFiles]) -> RubyState:
    """The Ruby of an image; each .deb is read once."""
    known = {deb.id: deb for plan in ground.plans.values() for deb in plan.artifacts}
    stanzas = {ident: text for plan in ground.plans.values() for ident, text in plan.stanzas.items()}
    installed = [known[ident] for ident in ground.plans[demand.image].state.artifacts]
    wanted = [deb for deb in installed if is_ruby(deb, stanzas)]
    for deb in wanted:
        if deb.id not in debs:
            await fetch_debs([deb], ground.witness, ground.pool)
            debs[deb.id] = await asyncio.to_thread(read_deb, ground.pool.path(deb.sha256), deb.id)
    return ruby_state([debs[deb.id] for deb in wanted], program, demand.where)


def resolve_gems(pages: GemIndex, names: Sequence[str], state: RubyState, arch: str, where: str) -> list[Gem]:
    """What ``gem install NAME…`` fetches: name after name, each on what the one before left.

    Raises:
        ResolutionError: a name has no gem that this Ruby can take, or no set fits.
    """
    installed = list(state.installed)
    found: dict[str, Gem] = {}
    for name in names:
        provider = _Provider(pages, state, installed, arch, name)
        resolver: resolvelib.Resolver[Wanted, Candidate, str] = resolvelib.Resolver(provider, resolvelib.BaseReporter())
        try:
            taken = resolver.resolve([Wanted(name, _ANY, where)], max_rounds=_ROUNDS).mapping.values()
        except resolvelib.ResolutionImpossible as error:
            lines = [
                f"  {one.requirement.name} {shown(one.requirement.bounds)}, by {one.requirement.by}"
                for one in error.causes
            ]
            raise ResolutionError(
                f"{where}: no set of gems meets what is asked for (Ruby {state.ruby}, RubyGems {state.rubygems}):\n"
                + "\n".join(dict.fromkeys(lines)),
                remedy="Name another gem by a template override, or leave the image out.",
            ) from None
        except resolvelib.ResolutionTooDeep:
            raise ResolutionError(f"{where}: the gems of {name} cannot be resolved in {_ROUNDS} rounds") from None
        new = [one.gem for one in taken if not one.installed]
        found |= {gem.full_name: gem for gem in new}
        installed += new
    return [found[name] for name in sorted(found)]


class _Provider(resolvelib.AbstractProvider):  # type: ignore[type-arg]
    """RubyGems' rules (``rubygems/resolver.rb``, ``resolver/installer_set.rb``).

    The gem that is named is the newest for this platform and this Ruby; what it needs is what is there already, if
    that fits, else the newest.
    """

    def __init__(self, pages: GemIndex, state: RubyState, installed: Sequence[Gem], arch: str, name: str) -> None:
        self._pages, self._installed, self._arch, self._name = pages, installed, arch, name
        self._ruby, self._rubygems = GemVersion(state.ruby), GemVersion(state.rubygems)

    def identify(self, requirement_or_candidate: Wanted | Candidate) -> str:
        if isinstance(requirement_or_candidate, Wanted):
            return requirement_or_candidate.name
        return requirement_or_candidate.gem.name

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, Candidate],
        candidates: Mapping[str, Iterator[Candidate]],
        information: Mapping[str, Iterator[Any]],
        backtrack_causes: Sequence[Any],
    ) -> tuple[int, bool, int]:
        every = len(self._candidates(identifier, _ANY))
        count = len(list(candidates[identifier]))
        conflicts = any(cause.requirement.name == identifier for cause in backtrack_causes)
        return (every - 1_000_000 if every <= 1 else count - every, not conflicts, count)

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Wanted]],
        incompatibilities: Mapping[str, Iterator[Candidate]],
    ) -> list[Candidate]:
        asked = [bound for one in requirements[identifier] for bound in one.bounds]
        refused = list(incompatibilities[identifier])
        return [one for one in self._candidates(identifier, asked) if one not in refused]

    def is_satisfied_by(self, requirement: Wanted, candidate: Candidate) -> bool:
        return satisfied(requirement.bounds, GemVersion(candidate.gem.version))

    def get_dependencies(self, candidate: Candidate) -> Iterable[Wanted]:
        gem = candidate.gem
        return [Wanted(name, bounds, gem.full_name) for name, bounds in gem.dependencies.items()]

    def _candidates(self, name: str, bounds: Sequence[Bound]) -> list[Candidate]:
        """What may be taken, the first one first."""
        remote = [Candidate(gem, False) for gem in asyncio.run(self._pages.gems(name))]
        here = [] if name == self._name else [Candidate(gem, True) for gem in self._installed if gem.name == name]
        early = asks_for_prerelease(bounds)
        fit = [
            one
            for one in (*here, *remote)
            if satisfied(bounds, GemVersion(one.gem.version))
            and fits_platform(one.gem.platform, self._arch)
            and (early or not GemVersion(one.gem.version).prerelease)
            and satisfied(one.gem.ruby, self._ruby)
            and satisfied(one.gem.rubygems, self._rubygems)
        ]
        order = sorted(fit, key=lambda one: (one.installed, GemVersion(one.gem.version), one.gem.platform != "ruby"))
        newest = order[::-1]
        # The one that is named is taken in its newest version or not at all.
        return newest[:1] if name == self._name else newest


async def _artifact(ground: Ground, gem: Gem, demand: Demand) -> Artifact:
    file = f"{gem.full_name}.gem"
    sha256, size = await fetch(ground.witness, UPSTREAM, f"gems/{file}", demand.where)
    if sha256 != gem.sha256:
        raise IntegrityError(
            f"{demand.where}: the upstream {UPSTREAM} serves {sha256} as {file}; its index declares {gem.sha256}",
            remedy="Do not take it: ask whoever runs the index, or name another one in factory.toml.",
        )
    arch = "any" if gem.platform == "ruby" else ground.gathered.arch
    path = f"gems/{file}"
    return first_seen("gem", file, UPSTREAM, path, sha256, size, name=gem.name, version=gem.version, arch=arch)
