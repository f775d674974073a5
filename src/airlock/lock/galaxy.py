"""Kind ``galaxy``: Ansible collections, resolved as ansible-galaxy does, by the resolver that it uses itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import resolvelib

from airlock.core.errors import ResolutionError, UnclassifiedError
from airlock.kolla.reading.model import Galaxy as Install
from airlock.lock.ecosystem import Answers, Ground, Index, Question, RoomIndex, questions
from airlock.lock.galaxy_api import NAME, GalaxyApi, Release, room_index
from airlock.lock.model import Artifact, Demand, Kind, first_seen
from airlock.lock.semver import is_pinned, is_prerelease, meets, version_key
from airlock.lock.sources_fetch import fetch

UPSTREAM = "galaxy"
_ROUNDS = 100_000
_PLAIN = "Name collections as NAMESPACE.NAME with a range of versions in quotes, by a template override."


class Wanted(msgspec.Struct, frozen=True):
    """A collection and the range of versions that is asked for; ``by`` whom, for messages."""

    name: str
    versions: str
    by: str


class Galaxy:
    """See ``Ecosystem``."""

    kind: Kind = "galaxy"
    upstream = UPSTREAM

    async def resolve(self, ground: Ground) -> Answers:
        """See ``Ecosystem``."""
        demands: list[Demand] = []
        artifacts: dict[str, Artifact] = {}
        upstreams: dict[str, str] = {}
        facts: dict[str, Any] = {}
        api: GalaxyApi | None = None
        for question in questions(ground, self.kind):
            with ground.shortfall.of(question.demand.image):
                index = Index(ground, UPSTREAM, "Ansible Galaxy", question.demand.where)
                api = api or GalaxyApi(index)
                found = await resolve_collections(api, wanted(question, ground), question.demand.where)
                own: list[str] = []
                for name, release in sorted(found.items()):
                    place = index.place(release.page, release.download_url)
                    artifact = await _artifact(ground, name, release, place, question.demand.where)
                    if place[1]:
                        upstreams[place[0]] = place[1]
                    artifacts[artifact.id] = artifact
                    facts[artifact.id] = {"dependencies": release.metadata.dependencies}
                    own.append(artifact.id)
                demands.append(msgspec.structs.replace(question.demand, artifacts=tuple(sorted(own))))
        return Answers(tuple(demands), tuple(artifacts.values()), upstreams, facts)

    def index(self, artifacts: Sequence[Artifact], facts: Mapping[str, Any], address: str) -> RoomIndex:
        """See ``Ecosystem``."""
        return room_index(artifacts, facts, address)


def wanted(question: Question, ground: Ground) -> list[Wanted]:
    """What a command asks for: its operands, then its requirement files, in order.

    Raises:
        UnclassifiedError: a file cannot be read, or asks for something else than collections of Galaxy by name.
    """
    install, where = question.command.detail, question.demand.where
    assert isinstance(install, Install)
    found = [
        Wanted(name, versions or "*", where) for name, _, versions in (one.partition(":") for one in install.names)
    ]
    for file in install.requirement_files:
        if file.ref.edits:
            raise UnclassifiedError(f"{where}: what `sed` leaves of {file.path} cannot be told")
        found += parse_requirements(ground.contents.text(file, where), f"{where}, {file.path}")
    for one in found:
        _check(one.name, one.versions, where)
    return found


def parse_requirements(text: str, where: str) -> list[Wanted]:
    """The collections that a ``requirements.yml`` asks for (Ansible's "Installing collections").

    Raises:
        UnclassifiedError: no such file, or one that asks for more than names and ranges.
    """
    try:
        document = msgspec.yaml.decode(text)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnclassifiedError(f"{where}: no YAML: {str(error)[:300]}") from None
    listed = document.get("collections") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise UnclassifiedError(f"{where}: names no collections", remedy=_PLAIN)
    return [_requirement(one, where) for one in listed]


def _requirement(one: object, where: str) -> Wanted:
    table = {"name": one} if isinstance(one, str) else one
    if (
        not isinstance(table, dict)
        or table.keys() - {"name", "version", "type"}
        or table.get("type", "galaxy") != "galaxy"
    ):
        raise UnclassifiedError(
            f"{where}: {str(one)[:200]} is no collection of Galaxy by name and range", remedy=_PLAIN
        )
    name, versions = table.get("name"), table.get("version", "*")
    if not isinstance(name, str) or not isinstance(versions, str):
        raise UnclassifiedError(f"{where}: {str(one)[:200]}: name and version must be texts", remedy=_PLAIN)
    _check(name, versions, where)
    return Wanted(name, versions, where)


def _check(name: str, versions: str, where: str) -> None:
    try:
        meets("1.0.0", versions)
    except ValueError as error:
        raise UnclassifiedError(f"{where}: {name}: {error}", remedy=_PLAIN) from None
    if not NAME.fullmatch(name):
        raise UnclassifiedError(f"{where}: {name[:200]!r} is no name of a collection", remedy=_PLAIN)


async def resolve_collections(api: GalaxyApi, asked: Sequence[Wanted], where: str) -> dict[str, Release]:
    """Name → release of everything that ansible-galaxy would install where nothing is installed yet.

    Raises:
        ResolutionError: there is no such set.
    """
    return await asyncio.to_thread(_solve, api, asked, where)


def _solve(api: GalaxyApi, asked: Sequence[Wanted], where: str) -> dict[str, Release]:
    resolver: resolvelib.Resolver[Wanted, _Candidate, str] = resolvelib.Resolver(
        _Provider(api), resolvelib.BaseReporter()
    )
    try:
        found = resolver.resolve(list(asked), max_rounds=_ROUNDS).mapping
    except resolvelib.ResolutionImpossible as error:
        lines = [
            f"  {cause.requirement.name} {cause.requirement.versions}, by {cause.requirement.by}"
            for cause in error.causes
        ]
        raise ResolutionError(
            f"{where}: no set of collections meets what is asked for:\n" + "\n".join(dict.fromkeys(lines)),
            remedy="Ask for another range by a template override, or leave the image out.",
        ) from None
    except resolvelib.ResolutionTooDeep:
        raise ResolutionError(f"{where}: its collections cannot be resolved in {_ROUNDS} rounds") from None
    return {name: asyncio.run(api.release(name, version)) for name, (_, version) in found.items()}


_Candidate = tuple[str, str]


class _Provider(resolvelib.AbstractProvider):  # type: ignore[type-arg]
    """ansible-galaxy's rules (ansible-core, ``galaxy/dependency_resolution/providers.py``), on an empty machine."""

    def __init__(self, api: GalaxyApi) -> None:
        self._api = api

    def identify(self, requirement_or_candidate: Wanted | _Candidate) -> str:
        return (
            requirement_or_candidate.name
            if isinstance(requirement_or_candidate, Wanted)
            else requirement_or_candidate[0]
        )

    def get_preference(
        self,
        identifier: str,
        resolutions: Mapping[str, _Candidate],
        candidates: Mapping[str, Iterator[_Candidate]],
        information: object,
        backtrack_causes: object,
    ) -> int:
        return len(list(candidates[identifier]))

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Wanted]],
        incompatibilities: Mapping[str, Iterator[_Candidate]],
    ) -> list[_Candidate]:
        asked = list(requirements[identifier])
        known = [version for version in asyncio.run(self._api.versions(identifier)) if _is_version(version)]
        # Pre-releases are for those who name one; where there is nothing else, they are taken.
        pinned = {one.versions.lstrip("=").strip() for one in asked if is_pinned(one.versions)}
        stable = any(not is_prerelease(version) for version in known)
        refused = {version for _, version in incompatibilities[identifier]}
        fit = [
            version
            for version in known
            if all(meets(version, one.versions) for one in asked)
            and not (stable and is_prerelease(version) and version not in pinned)
            and version not in refused
        ]
        return [(identifier, version) for version in sorted(fit, key=version_key, reverse=True)]

    def is_satisfied_by(self, requirement: Wanted, candidate: _Candidate) -> bool:
        return meets(candidate[1], requirement.versions)

    def get_dependencies(self, candidate: _Candidate) -> Iterable[Wanted]:
        release = asyncio.run(self._api.release(*candidate))
        return [Wanted(name, versions, " ".join(candidate)) for name, versions in release.metadata.dependencies.items()]


def _is_version(text: str) -> bool:
    try:
        version_key(text)
    except ValueError:
        return False
    return True


async def _artifact(ground: Ground, name: str, release: Release, place: tuple[str, str, str], where: str) -> Artifact:
    upstream, address, path = place
    sha256, size = release.artifact.sha256, release.artifact.size
    if address and upstream not in ground.addresses:
        ground.witness.add_upstream(upstream, address)
    if not size:  # an index need not say it
        found, size = await fetch(ground.witness, upstream, path, f"{where}: {name}")
        if found != sha256:
            raise ResolutionError(
                f"{where}: {name} {release.version} is not what its index declares: {found}, not {sha256}"
            )
    file = f"{name.replace('.', '-')}-{release.version}.tar.gz"
    return first_seen("galaxy", file, upstream, path, sha256, size, name=name, version=release.version)
