"""Resolves the pip commands of one image, in order, to exact files (docs/ecosystems/python.md)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from airlock.fetch.witness import Witness
from airlock.lock.model import Artifact, Demand, Kind
from airlock.lock.python_build import HOOK_FAILED, BuildSystem, Unpacked, hook_requirements, read_build_system
from airlock.lock.python_compile import Compiler, Question, names_of, preferences
from airlock.lock.python_files import Target, file_artifact
from airlock.lock.python_model import Installed, PipLine, PythonResult, PythonState, SourceTree
from airlock.lock.python_words import check_requirements, requirement_lines
from airlock.store.pool import Pool

SATISFIED = "everything it names is installed already"


class _Sdist(msgspec.Struct, frozen=True):
    """Something that pip will build: an sdist from the index, or a source tree."""

    name: str
    file: str
    path: Path
    folder: str = ""


class PythonResolver:
    """Answers pip commands and what build isolation needs.

    Args:
        witness: through which the index is asked.
        socket: the witness's unix socket, for the sandbox.
        pool: where files that must be read are.
        upstream: the index's name.
        constraints: upper-constraints, for lines that bring none of their own.
        pins: PEP 508, added to every line's constraints.
        build_pins: PEP 508, the constraints in build isolation.
        arch: ``x86_64``, ``aarch64``.
        glibc: of the images (``python_files.GLIBC``).
        work: a folder of this resolver alone; emptied.
    """

    def __init__(
        self,
        *,
        witness: Witness,
        socket: Path,
        pool: Pool,
        upstream: str = "pypi",
        constraints: str,
        pins: Sequence[str],
        build_pins: Sequence[str],
        arch: str,
        glibc: tuple[int, int],
        work: Path,
    ) -> None:
        self._witness, self._socket, self._pool, self._upstream = witness, socket, pool, upstream
        self._constraints, self._pins, self._build_pins = constraints, pins, build_pins
        self._arch, self._glibc, self._work = arch, glibc, work
        self._compilers: dict[str, Compiler] = {}
        self._systems: dict[_Sdist, BuildSystem] = {}
        self._files: dict[tuple[str, str, Target], Artifact] = {}
        self._at_a_time = asyncio.Semaphore(os.cpu_count() or 1)
        self._hooks: dict[tuple[_Sdist, tuple[str, ...]], tuple[str, ...] | None] = {}
        self._wheels: dict[tuple[int, int], Unpacked] = {}
        self._asked: dict[object, asyncio.Lock] = {}

    async def resolve(
        self,
        image: str,
        lines: Sequence[PipLine],
        parent: PythonState,
        *,
        python_version: str,
        system: Mapping[str, str],
    ) -> PythonResult:
        """Answer an image's pip commands.

        Args:
            lines: in the order of the Dockerfile.
            parent: what the parent image ended with (and ``with_venv`` where this one makes an environment).
            python_version: of the image's interpreter, full (``3.11.2``).
            system: distributions in apt's dist-packages: name → version.

        Raises:
            ResolutionError: a requirement cannot be satisfied; names image and line, with uv's own words.
            UpstreamError: the index fails.
        """
        target = Target(python_version, self._arch, self._glibc)
        if python_version not in self._compilers:
            folder = self._work / f"uv-{python_version}"
            self._compilers[python_version] = Compiler(self._witness, self._socket, self._upstream, target, folder)
        demands: dict[tuple[str, str, int, str, str], Demand] = {}
        artifacts: dict[str, Artifact] = {}
        state = parent
        for line in lines:
            answer = _Line(self, image, line, target, self._compilers[python_version])
            state = await answer.run(state, system)
            artifacts |= answer.artifacts
            for demand in answer.demands:
                demands[demand.key] = _joined(demands.get(demand.key), demand)
        return PythonResult(
            tuple(sorted(demands.values(), key=lambda demand: demand.key)),
            tuple(sorted(artifacts.values(), key=lambda artifact: artifact.key)),
            state,
        )

    async def system(self, sdist: _Sdist, where: str) -> BuildSystem:
        """Its build system; the archive is read once."""
        async with self._asked.setdefault(sdist, asyncio.Lock()):
            if sdist not in self._systems:
                given = (sdist.path, sdist.file, where, sdist.folder)
                self._systems[sdist] = await asyncio.to_thread(read_build_system, *given)
            return self._systems[sdist]

    async def hook(
        self, sdist: _Sdist, static: Sequence[Artifact], minor: tuple[int, int], where: str
    ) -> tuple[str, ...] | None:
        """What the sdist's backend asks for besides, run once per environment of static requirements."""
        key = (sdist, tuple(artifact.sha256 for artifact in static))
        async with self._asked.setdefault(key, asyncio.Lock()):
            if key not in self._hooks:
                self._hooks[key] = await self._hook(sdist, static, minor, where)
            return self._hooks[key]

    async def _hook(
        self, sdist: _Sdist, static: Sequence[Artifact], minor: tuple[int, int], where: str
    ) -> tuple[str, ...] | None:
        if any(artifact.kind != "wheel" for artifact in static):
            return None  # an environment that would have to be built itself
        system = await self.system(sdist, where)
        wheels = [(artifact.file, await self.fetched(artifact)) for artifact in static]
        async with self._at_a_time:
            return await hook_requirements(
                sdist.path, sdist.file, system, wheels, self._unpacked(minor), folder=sdist.folder
            )

    def end(self) -> None:
        """Remove what was needed for asking: tens of thousands of files."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _unpacked(self, minor: tuple[int, int]) -> Unpacked:
        if minor not in self._wheels:
            self._wheels[minor] = Unpacked(self._work / f"wheels-{minor[0]}.{minor[1]}", minor)
        return self._wheels[minor]

    async def artifact(self, name: str, version: str, target: Target, where: str) -> Artifact:
        """The file pip takes of a version."""
        key = (name, version, target)
        if key not in self._files:
            self._files[key] = await file_artifact(self._witness, self._upstream, name, version, target, where)
        return self._files[key]

    async def fetched(self, artifact: Artifact) -> Path:
        """Its place in the pool, after fetching it where it is not there."""
        return await self._witness.project_file(self._upstream, artifact.name, artifact.file, artifact.sha256)

    def constraints(self, line: PipLine) -> str:
        """The constraints in force for a line."""
        own = line.constraints or self._constraints
        return "\n".join([own.rstrip("\n"), *self._pins]) + "\n"

    @property
    def build_constraints(self) -> str:
        """What holds in build isolation, which ``-c`` does not reach: the definition's build pins alone."""
        return "".join(f"{pin}\n" for pin in self._build_pins)


class _Line:
    """The answer to one pip command, while it is being found."""

    def __init__(self, resolver: PythonResolver, image: str, line: PipLine, target: Target, compiler: Compiler) -> None:
        self._resolver, self._image, self._line = resolver, image, line
        self._target, self._compiler = target, compiler
        self._arch = target.arch
        self.artifacts: dict[str, Artifact] = {}
        self.demands: list[Demand] = []
        self._isolated: set[str] = set()

    @property
    def _where(self) -> str:
        return f"image {self._image} ({self._arch}), line {self._line.line}"

    async def run(self, state: PythonState, system: Mapping[str, str]) -> PythonState:
        """Answer it; returns the environment after it."""
        line = self._line
        before = state.view(line.venv, system)
        requirements = (*line.requirements, *requirement_lines(line.requirement_texts, self._where))
        check_requirements(requirements, self._where)
        sources = {str(canonicalize_name(tree.name)): tree for tree in line.sources}
        question = Question(
            requirements=requirements,
            sources=tuple(line.sources),
            constraints=self._resolver.constraints(line),
            build_constraints=self._resolver.build_constraints,
            known=tuple(one.source for name, one in sorted(before.items()) if one.source and name not in sources),
            prefer=preferences({name: one.version for name, one in before.items()}),
            upgrade=names_of(requirements) if line.upgrade else (),
        )
        versions = await self._compiler.versions(question, self._where)
        changed = [
            Installed(name, version)
            for name, version in sorted(versions.items())
            if version and (name not in before or before[name].version != version)
        ]
        files = [await self._resolver.artifact(one.name, one.version, self._target, self._where) for one in changed]
        ids = self._note(files) | {tree.artifact for tree in line.sources}
        note = "" if ids else SATISFIED
        self._demand("python", line.spec, ids, note)
        trees = [_Sdist(tree.name, tree.file, tree.path, tree.folder) for tree in line.sources]
        await self._isolate_all([*trees, *await self._sdists(files)])
        return state.after(line.venv, [*changed, *(_tree(name, tree) for name, tree in sources.items())])

    async def _sdists(self, files: Iterable[Artifact]) -> list[_Sdist]:
        return [
            _Sdist(artifact.name, artifact.file, await self._resolver.fetched(artifact))
            for artifact in files
            if artifact.kind == "sdist"
        ]

    async def _isolate_all(self, sdists: Iterable[_Sdist]) -> None:
        """Several at a time: their hooks take most of the time, and their order shows nowhere."""
        tasks = [asyncio.create_task(self._isolate(sdist)) for sdist in sdists]
        try:
            for task in tasks:  # in order, so that of several errors the same one is reported
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _isolate(self, sdist: _Sdist) -> None:
        """Demand what building ``sdist`` fetches, and what building that fetches, and so on."""
        if sdist.file in self._isolated:
            return
        self._isolated.add(sdist.file)
        where = f"{self._where}: to build {sdist.file}"
        static = await self._isolation((await self._resolver.system(sdist, where)).requires, where)
        needed = await self._resolver.hook(sdist, static, self._target.minor, where)
        # pip installs what the hook adds by a second, separate call, and only what the first has not brought.
        names = {artifact.name for artifact in static}
        missing = [one for one in needed or () if canonicalize_name(Requirement(one).name) not in names]
        files = [*static, *await self._isolation(missing, where)]
        self._demand("python-build", sdist.file, self._note(files), HOOK_FAILED if needed is None else "")
        await self._isolate_all(await self._sdists(files))

    async def _isolation(self, requirements: Sequence[str], where: str) -> list[Artifact]:
        question = Question(
            requirements=tuple(dict.fromkeys(requirements)),
            constraints=self._resolver.build_constraints,
            build_constraints=self._resolver.build_constraints,
        )
        if not question.requirements:
            return []
        versions = await self._compiler.versions(question, where)
        return [
            await self._resolver.artifact(name, version, self._target, where)
            for name, version in sorted(versions.items())
        ]

    def _note(self, files: Iterable[Artifact]) -> set[str]:
        found = {artifact.id: artifact for artifact in files}
        self.artifacts |= found
        return set(found)

    def _demand(self, kind: Kind, spec: str, ids: Iterable[str], note: str) -> None:
        place = (self._arch, self._image, self._line.line)
        self.demands.append(Demand(*place, kind, spec, tuple(sorted(ids)), note))


def _tree(name: str, tree: SourceTree) -> Installed:
    return Installed(name, "", tree)


def _joined(old: Demand | None, new: Demand) -> Demand:
    """Two pip commands of one RUN that stand on the same line may build the same sdist."""
    if old is None:
        return new
    ids = tuple(sorted({*old.artifacts, *new.artifacts}))
    return msgspec.structs.replace(new, artifacts=ids, note=old.note or new.note if ids else new.note)
