"""Python's closure, proved from the locked files alone: what each of them says that it requires is locked, too.

For every pip command, in the order of the Dockerfiles and down the tree of parents: its source trees are among what
answers it, and what it names and what the metadata of every wheel and sdist require (``python_requires``), as far as
it holds on the image's interpreter and platform (PEP 508) and for the extras that are asked for, is met by what the
environment holds by then: installed before by pip, by this command, or, where nothing of that name was, by apt.
What building an sdist requires by its own ``pyproject.toml`` is met likewise, by what is locked for that alone. Every
file is what its name promises, and for the image's interpreter and platform (``python_fit``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from airlock.core.errors import AirlockError, FormatError, ResolutionError
from airlock.lock.apt_resolver import AptResult
from airlock.lock.contents import Contents
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, Lock
from airlock.lock.proof import RELOCK, Gap
from airlock.lock.python_build import parse_build_system, read_build_system
from airlock.lock.python_chain import ensurepip_versions
from airlock.lock.python_fit import misfits
from airlock.lock.python_given import PythonOfImages
from airlock.lock.python_images import NewVenv, PipLines
from airlock.lock.python_model import PipLine, SourceTree
from airlock.lock.python_requires import Project, read_project, requirement_lines
from airlock.store.pool import Pool

_NO_DEPENDENCIES = "--no-deps"


class _Dist(msgspec.Struct, frozen=True):
    """One distribution in an environment; ``version`` is empty where it is not one of PEP 440.

    Attributes:
        artifact, project: the file, and what it says of itself; none of what was not locked.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    artifact: Artifact | None = None
    project: Project | None = None


_Environment = dict[str, _Dist]


def prove_python(lock: Lock, gathered: Gathered, plans: Mapping[str, AptResult], pool: Pool) -> list[Gap]:
    """What is required and not locked, of one architecture.

    Args:
        plans: image → what apt does there, as ``apt_images.solve_again`` found it.
        pool: whose files were found whole before.
    """
    if any(demand.kind == "source" and not demand.artifacts for demand in lock.demands):
        return []  # said by the proof of the lock; without it nothing can be told of what is installed from it
    try:
        return _Proof(lock, gathered, plans, pool).gaps()
    except AirlockError as error:
        return [Gap("python", error.message, RELOCK)]


class _Proof:
    def __init__(self, lock: Lock, gathered: Gathered, plans: Mapping[str, AptResult], pool: Pool) -> None:
        self._gathered, self._plans, self._pool, self._by_id = gathered, plans, pool, lock.by_id
        self._demands = {demand.key: demand for demand in lock.demands if demand.kind == "python"}
        self._isolated: dict[tuple[str, int], list[Demand]] = {}
        for demand in lock.demands:
            if demand.kind == "python-build" and demand.arch == gathered.arch:
                self._isolated.setdefault((demand.image, demand.line), []).append(demand)
        self._lines = PipLines(gathered, _contents(lock, gathered, pool))
        self._dists: dict[str, _Dist] = {}
        self._given = PythonOfImages(gathered, plans, pool)

    def gaps(self) -> list[Gap]:
        found: list[Gap] = []
        states: dict[str, dict[str, _Environment]] = {"": {}}
        for image in self._gathered.tree.images:  # parents first
            state = {venv: dict(dists) for venv, dists in states.get(image.parent, {}).items()}
            states[image.name] = state
            for step in self._lines.steps(image.name):
                if isinstance(step, NewVenv):
                    given = ensurepip_versions(self._plans[image.name].state)
                    state[step.path] = {name: _Dist(name, version) for name, version in given.items()}
                else:
                    found += self._command(image.name, step, state.setdefault(step.venv, {}))
        return found

    def _command(self, image: str, pip: PipLine, environment: _Environment) -> Iterator[Gap]:
        key = (self._gathered.arch, image, pip.line, "python", pip.spec)
        demand = self._demands.get(key)
        if demand is None:
            return  # said by the proof of the lock
        for tree in pip.sources:
            if tree.artifact not in demand.artifacts:
                yield Gap(
                    demand.where, f"`{pip.spec}` installs {tree.file}, which is not among what answers it", RELOCK
                )
        dists = yield from self._files(image, demand)
        environment |= {dist.name: dist for dist in dists}
        if _NO_DEPENDENCIES not in pip.spec.split():
            yield from self._closure(image, pip, demand, dists, environment)
        yield from self._isolation(image, pip, dists)

    def _files(self, image: str, demand: Demand) -> Generator[Gap, None, list[_Dist]]:
        """The distributions that answer a demand; what they are not."""
        dists = []
        for artifact in (self._by_id[ident] for ident in demand.artifacts if ident in self._by_id):
            dist = _Dist(artifact.name, _version(artifact.version), (), artifact)
            try:
                dist = self._dist(artifact)
            except FileNotFoundError:
                pass  # said by the proof of presence
            except FormatError as error:
                yield Gap(demand.where, error.message, RELOCK, artifact.id)
            dists.append(dist)
            for what in misfits(artifact, dist.project, self._given.target(image)) if dist.project else ():
                yield Gap(demand.where, what, RELOCK, artifact.id)
        return dists

    def _isolation(self, image: str, pip: PipLine, dists: list[_Dist]) -> Iterator[Gap]:
        """What building each sdist of a command requires is locked for it, and what that requires."""
        folders = {tree.file: tree.folder for tree in pip.sources}
        known = {dist.artifact.file: dist for dist in dists if dist.artifact}
        isolated = self._isolated.get((image, pip.line), [])
        inside: dict[str, list[_Dist]] = {}
        for demand in isolated:
            inside[demand.spec] = yield from self._files(image, demand)
            known |= {dist.artifact.file: dist for dist in inside[demand.spec] if dist.artifact}
        for demand in isolated:
            sdist = known.get(demand.spec)
            if sdist is None or sdist.artifact is None or sdist.project is None:
                continue  # of another command on the same line
            try:
                if folder := folders.get(demand.spec, ""):
                    path = self._pool.path(sdist.artifact.sha256)
                    system = read_build_system(path, demand.spec, demand.where, folder)
                else:
                    system = parse_build_system(sdist.project.pyproject, demand.spec, demand.where)
            except ResolutionError as error:
                yield Gap(demand.where, error.message, RELOCK)
                continue
            held = {dist.name: dist for dist in inside[demand.spec]}
            yield from self._followed(image, demand, list(system.requires), [], inside[demand.spec], held, alone=True)

    def _closure(
        self, image: str, pip: PipLine, demand: Demand, dists: list[_Dist], environment: _Environment
    ) -> Iterator[Gap]:
        """Follow requirements from what the command installs, with the extras that are asked for on the way."""
        extras = sorted({extra for tree in pip.sources for extra in tree.extras})
        asked = [*pip.requirements, *(line for text in pip.requirement_texts for line in requirement_lines(text))]
        yield from self._followed(image, demand, asked, extras, dists, environment)

    def _followed(
        self,
        image: str,
        demand: Demand,
        asked: list[str],
        extras: list[str],
        dists: list[_Dist],
        environment: _Environment,
        *,
        alone: bool = False,
    ) -> Iterator[Gap]:
        """``alone``: nothing that apt has counts, as in build isolation."""
        markers = self._given.markers(image)
        pending = [(dist, extra) for dist in dists for extra in ("", *extras)]
        for wanted in filter(None, map(_requirement, asked)):
            if wanted.marker is None or wanted.marker.evaluate(markers):
                yield from self._met(image, demand, f"`{wanted}` is asked for", wanted, environment, alone=alone)
                pending += _extras([wanted], environment)
        done: set[tuple[str, str]] = set()
        while pending:
            dist, extra = pending.pop()
            if (dist.name, extra) in done:
                continue
            done.add((dist.name, extra))
            for text in dist.requires:
                required = _requirement(text)
                if required is None or not _holds(required, markers, extra):
                    continue
                who = f"{dist.name} {dist.version}{f' [{extra}]' if extra else ''} requires `{required}`"
                yield from self._met(image, demand, who, required, environment, alone=alone)
                pending += _extras([required], environment)

    def _met(
        self, image: str, demand: Demand, who: str, wanted: Requirement, environment: _Environment, *, alone: bool
    ) -> Iterator[Gap]:
        name = canonicalize_name(wanted.name)
        apt = {} if alone or name in environment else self._given.of_apt(image)
        version = environment[name].version if name in environment else apt.get(name)
        if alone:
            who = f"to build {demand.spec}, {who}"
        if version is None:
            yield Gap(demand.where, f"{who}, of which nothing is locked", RELOCK)
        elif version and not wanted.specifier.contains(version, prereleases=True):
            yield Gap(demand.where, f"{who}; locked is {version}", RELOCK)

    def _dist(self, artifact: Artifact) -> _Dist:
        if artifact.id not in self._dists:
            said = read_project(self._pool.path(artifact.sha256), artifact)
            version = _version(artifact.version)
            self._dists[artifact.id] = _Dist(said.name, version, said.requires, artifact, said)
        return self._dists[artifact.id]


def _contents(lock: Lock, gathered: Gathered, pool: Pool) -> Contents:
    """What files of source archives and of downloads hold, from what is locked."""
    own = [demand for demand in lock.demands if demand.arch == gathered.arch]
    by_id = lock.by_id
    answers = [(demand, by_id[ident]) for demand in own for ident in demand.artifacts if ident in by_id]
    archives = {
        demand.spec: SourceTree(found.name, found.file, pool.path(found.sha256), found.id)
        for demand, found in answers
        if demand.kind == "source"
    }
    downloads = {demand.spec: pool.path(found.sha256) for demand, found in answers if demand.kind == "file"}
    return Contents(gathered, archives, downloads)


def _extras(wanted: list[Requirement], environment: Mapping[str, _Dist]) -> list[tuple[_Dist, str]]:
    named = [(environment.get(canonicalize_name(one.name)), extra) for one in wanted for extra in sorted(one.extras)]
    return [(dist, extra) for dist, extra in named if dist is not None]


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None  # older metadata; pip passes over these, too


def _holds(required: Requirement, markers: dict[str, str], extra: str) -> bool:
    """Whether an extra brings a requirement; ``""`` for those that hold in any case."""
    always = required.marker is None or required.marker.evaluate(markers | {"extra": ""})
    if not extra or required.marker is None:
        return always and not extra
    return not always and required.marker.evaluate(markers | {"extra": extra})


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return ""
