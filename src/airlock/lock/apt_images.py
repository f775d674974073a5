"""The apt commands of every image of an architecture, followed from the base image down the tree of parents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from airlock.core.errors import AirlockError
from airlock.core.progress import Reporter
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.lock.apt_resolver import AptResolver, AptResult
from airlock.lock.apt_steps import apt_steps
from airlock.lock.apt_verify import solve_from_index
from airlock.lock.base_reference import is_reference, resolve_base
from airlock.lock.extrepo_locked import locked_texts
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, Lock
from airlock.lock.proof import RELOCK, Gap
from airlock.lock.shortfall import Shortfall
from airlock.lock.vendors import require_reached, require_vendors
from airlock.store.pool import Pool


def resolve_apt(
    gathered: Gathered,
    resolver: AptResolver,
    pool: Pool,
    reporter: Reporter,
    shortfall: Shortfall | None = None,
    tell: Callable[[str, AptResult], None] = lambda image, plan: None,
) -> dict[str, AptResult]:
    """Image → what its apt commands do; a root's result also has what the base image is made of.

    Args:
        pool: where a base image from a registry lies.
        shortfall: is told of images whose packages cannot be had, where going on is wanted; these have no result.
        tell: called with each image's result, parents first.

    Raises:
        ResolutionError, UnclassifiedError: see ``AptResolver.resolve``.
    """
    arch = gathered.arch
    results: dict[str, AptResult] = {}
    taken = _taken(gathered, pool)
    resolver.cut(_roots(gathered, taken))
    etc: dict[str, dict[str, bytes | None]] = {}
    shortfall = shortfall or Shortfall(arch)
    with reporter.task(f"{arch}: OS packages", len(gathered.tree.images), unit="items") as task:
        for image in gathered.tree.images:
            task.advance(1)
            if shortfall.blocks(image.name, image.parent):
                continue
            with shortfall.of(image.name):
                base = taken.get(image.name) or _made(gathered, resolver, image.name) if not image.parent else None
                start = base.state if base else results[image.parent].state
                known = dict(etc.get(image.parent, {}))
                steps = apt_steps(gathered.readings[image.name], gathered.context, known, gathered.by_extrepo)
                require_reached(image.name, arch, steps, shortfall.vendors)
                etc[image.name] = known
                found = resolver.resolve(image.name, arch, steps, start)
                if image.name not in gathered.definition.distribution_packages:
                    kept = gathered.definition.vendor_repositories
                    require_vendors(image, arch, kept, steps, found, resolver.offering)
                results[image.name] = _together(base, found) if base else found
                tell(image.name, results[image.name])
    return results


def before_command(gathered: Gathered, resolver: AptResolver, image: str, index: int, pool: Pool) -> list[Artifact]:
    """What the apt commands of a root image have installed when its command of that index runs, in that order."""
    reading = gathered.readings[image]
    taken = _taken(gathered, pool)
    resolver.cut(_roots(gathered, taken))
    base = taken.get(image) or _made(gathered, resolver, image)
    begun = msgspec.structs.replace(reading, commands=reading.commands[:index])
    steps = apt_steps(begun, gathered.context, {}, gathered.by_extrepo)
    found = resolver.resolve(image, gathered.arch, steps, base.state)
    return [*base.artifacts, *found.artifacts]


def _taken(gathered: Gathered, pool: Pool) -> dict[str, AptResult]:
    """Root → the base image that a registry has for it, where it is not made."""
    return {
        demand.image: resolve_base(demand, pool, gathered.base_sources)
        for demand in gathered.demands
        if demand.kind == "base-image" and is_reference(demand.spec)
    }


def _made(gathered: Gathered, resolver: AptResolver, image: str) -> AptResult:
    """The packages that a base image is made of, as the answer to the FROM of a root."""
    asked = next(demand for demand in gathered.demands if demand.kind == "base-image" and demand.image == image)
    base = resolver.base(gathered.arch)
    demand = msgspec.structs.replace(asked, artifacts=base.demands[0].artifacts)
    return AptResult([demand], base.artifacts, base.stanzas, base.state)


def _roots(gathered: Gathered, taken: Mapping[str, AptResult]) -> set[str]:
    """Everything that is not an option in any apt command of any image, and what base images bring."""
    words = {word for demand in gathered.demands if demand.kind == "apt" for word in demand.spec.split()[1:]}
    words |= {name for base in taken.values() for name in base.state.packages}
    return {word for word in words if not word.startswith("-")}


def _together(base: AptResult, own: AptResult) -> AptResult:
    artifacts = list({artifact.id: artifact for artifact in [*base.artifacts, *own.artifacts]}.values())
    return AptResult([*base.demands, *own.demands], artifacts, {**base.stanzas, **own.stanzas}, own.state)


def prove_plans(
    lock: Lock, gathered: Gathered, indexes: Mapping[str, bytes], pool: Pool, work: Path, reporter: Reporter
) -> tuple[list[Gap], dict[str, AptResult]]:
    """Solve every image again from the lock's own indexes: apt must come to the locked plans.

    Returns:
        Where it does not, and image → what apt does there; none where it cannot solve them.
    """
    try:
        gathered = msgspec.structs.replace(gathered, by_extrepo=locked_texts(lock, gathered.arch, pool))
        resolver = solve_from_index(
            indexes,
            root=work,
            sources=gathered.apt_sources,
            debian_arch=DEBIAN_ARCHITECTURES[gathered.arch],
            artifacts=lock.artifacts,
        )
        results = resolve_apt(gathered, resolver, pool, reporter)
    except AirlockError as error:
        return [Gap("indexes", f"apt cannot solve the images from them: {error.message}", RELOCK)], {}
    return plan_gaps(lock, results), results


def plan_gaps(lock: Lock, results: Mapping[str, AptResult]) -> list[Gap]:
    """Where apt's plans are not those of the lock."""
    locked = {demand.key: demand for demand in lock.demands}
    return [
        Gap(
            demand.where,
            f"from the bundle's own index apt would install other packages for `{demand.spec}`{_other(demand, found)}",
            RELOCK,
        )
        for result in results.values()
        for demand in result.demands
        if (found := locked.get(demand.key)) is not None and found.artifacts != demand.artifacts
    ]


def _other(solved: Demand, locked: Demand) -> str:
    new = sorted(set(solved.artifacts) - set(locked.artifacts))
    gone = sorted(set(locked.artifacts) - set(solved.artifacts))
    words = [f"{sign}{ident}" for sign, idents in (("+", new), ("-", gone)) for ident in idents[:3]]
    return f" ({' '.join(words)})"
