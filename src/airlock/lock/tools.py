"""Kind ``tool``: what the site needs to run, as wheels: Airlock itself, Kolla, the client of the engine."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from airlock.core.errors import IntegrityError, ResolutionError
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.fetch.upstreams import PYPI
from airlock.fetch.witness import Witness
from airlock.lock.git_repositories import KOLLA
from airlock.lock.model import Artifact, Demand, Lock, artifact_id
from airlock.lock.python_compile import Compiler, Question
from airlock.lock.python_files import GLIBC, Target, file_artifact
from airlock.lock.python_model import SourceTree
from airlock.lock.tools_git import kolla_from_git
from airlock.lock.tools_install import PYTHON, tools_environment
from airlock.lock.tools_wheel import DISTRIBUTION, own_wheel
from airlock.store.pool import Pool

__all__ = ["ToolsResult", "required_tools", "resolve_tools", "tool_artifacts", "tools_environment"]

ENGINE_CLIENT = "podman"
_OWN = "tools/airlock"
_PYTHON_VERSION = f"{PYTHON[0]}.{PYTHON[1]}.2"
_SITE_GLIBC = GLIBC["bookworm"]


class ToolsResult(msgspec.Struct, frozen=True):
    """The site's tools.

    Attributes:
        kolla: for the lock's header: ``{"source": …, "version": …}`` and, from git, ``"commit"``.
    """

    demands: tuple[Demand, ...]
    artifacts: tuple[Artifact, ...]
    kolla: dict[str, str]


def required_tools(loaded: LoadedDefinition) -> tuple[str, ...]:
    """The requirements of a definition's site: the specs of its ``tool`` demands."""
    kolla = loaded.definition.kolla
    asked = f"{KOLLA}=={kolla.version}" if kolla.source == "pypi" else f"{KOLLA} @ git {kolla.ref}"
    return (DISTRIBUTION, asked, ENGINE_CLIENT)


def tool_artifacts(lock: Lock) -> list[Artifact]:
    """The artifacts that answer a lock's ``tool`` demands; one that the lock names but does not hold is left out."""
    by_id = lock.by_id
    wanted = {ident for demand in lock.demands if demand.kind == "tool" for ident in demand.artifacts}
    return [by_id[ident] for ident in sorted(wanted & by_id.keys())]


def _machines(loaded: LoadedDefinition) -> list[str]:
    """Architectures that the tools are for: the site's, and this factory's own, which renders with Kolla too."""
    return sorted({*loaded.definition.base.architectures, platform.machine()} & DEBIAN_ARCHITECTURES.keys())


async def resolve_tools(
    loaded: LoadedDefinition, witness: Witness, pool: Pool, socket: Path, work: Path, repository: Artifact | None = None
) -> ToolsResult:
    """Resolve them together, so that one environment can hold them all; wheels only.

    Args:
        socket: the witness's.
        work: a folder of ours below it is emptied.
        repository: Kolla's git repository, for a definition that takes it from there.

    Raises:
        ResolutionError: no such version, a conflict, or a project without a wheel; names the project.
        UpstreamError: the index fails.
    """
    demands: list[Demand] = []
    artifacts: dict[str, Artifact] = {}
    kolla: dict[str, str] = {"source": "pypi", "version": loaded.definition.kolla.version}
    for arch in _machines(loaded):
        target = Target(_PYTHON_VERSION, arch, _SITE_GLIBC)
        compiler = Compiler(witness, socket, PYPI, target, work / f"tools-{arch}")
        made = {DISTRIBUTION: _own(witness, pool)}
        if repository is not None:
            wheel = await kolla_from_git(repository, witness, pool, compiler, target, work / "kolla-git")
            made[KOLLA] = wheel
            kolla = {"source": "git", "version": wheel.version, "commit": repository.version}
        answers = _Tools(loaded, arch, target, compiler, witness, pool, made)
        for demand, files in await answers.resolve():
            demands.append(demand)
            artifacts |= {artifact.id: artifact for artifact in files}
    return ToolsResult(tuple(demands), tuple(artifacts.values()), kolla)


def _own(witness: Witness, pool: Pool) -> Artifact:
    """Airlock's own wheel: the one that was locked when solving again, else made now."""
    try:
        return msgspec.json.decode(witness.kept(_OWN), type=Artifact)
    except IntegrityError:
        pass  # the first solving
    file, data = own_wheel()
    name, version, _, _ = parse_wheel_filename(file)
    made = Artifact(
        id=artifact_id("wheel", file),
        kind="wheel",
        name=str(name),
        version=str(version),
        arch="any",
        file=file,
        sha256=pool.add_bytes(data),
        size=len(data),
        upstream="airlock",
        path=file,
        trust="made",
    )
    witness.keep(_OWN, msgspec.json.encode(made))
    return made


class _Tools:
    """The tools of one architecture. ``made``: project → its wheel, which is not on the index."""

    def __init__(
        self,
        loaded: LoadedDefinition,
        arch: str,
        target: Target,
        compiler: Compiler,
        witness: Witness,
        pool: Pool,
        made: dict[str, Artifact],
    ) -> None:
        self._arch, self._target, self._compiler, self._witness = arch, target, compiler, witness
        self._required = {_project(spec): spec for spec in required_tools(loaded)}
        self._made = made
        self._trees = {
            project: SourceTree(project, wheel.file, pool.path(wheel.sha256), wheel.id)
            for project, wheel in made.items()
        }

    async def resolve(self) -> list[tuple[Demand, list[Artifact]]]:
        """One demand a requirement, with everything that it alone needs, at versions that fit all of them."""
        together = await self._ask(list(self._required), {})
        found = []
        for project, spec in self._required.items():
            versions = await self._ask([project], together)
            files = [self._made[project]] if project in self._made else []
            for name, version in sorted(versions.items()):
                if version:
                    files.append(await self._wheel(name, version, spec))
            ids = tuple(sorted({artifact.id for artifact in files}))
            found.append((Demand(self._arch, "", 0, "tool", spec, ids), files))
        return found

    async def _ask(self, projects: list[str], fixed: dict[str, str]) -> dict[str, str]:
        question = Question(
            requirements=tuple(self._required[name] for name in projects if name not in self._made),
            sources=tuple(self._trees[name] for name in projects if name in self._made),
            constraints="".join(f"{name}=={version}\n" for name, version in sorted(fixed.items()) if version),
            wheels_only=True,
        )
        return await self._compiler.versions(question, f"tools ({self._arch})")

    async def _wheel(self, name: str, version: str, spec: str) -> Artifact:
        found = await file_artifact(self._witness, PYPI, name, version, self._target, f"tool {spec} ({self._arch})")
        if found.kind != "wheel":
            raise ResolutionError(
                f"tool {spec} ({self._arch}): {name} {version} has no wheel for Python {self._target.python}",
                remedy="The site's tools are installed without building anything. Take another version of Kolla.",
            )
        # `lock` itself renders with Kolla: what it installs must be here, not only named.
        await self._witness.project_file(PYPI, found.name, found.file, found.sha256)
        return found


def _project(spec: str) -> str:
    return KOLLA if spec.startswith(f"{KOLLA} @ ") else Requirement(spec).name
