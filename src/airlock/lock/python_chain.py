"""The pip commands of every image of an architecture, followed down the tree of parents on what apt left."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airlock.core.errors import ResolutionError
from airlock.core.progress import Reporter
from airlock.fetch.witness import Witness
from airlock.lock.apt_python import fetch_debs, python_debs, python_dists
from airlock.lock.apt_state import AptState
from airlock.lock.contents import Contents
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand
from airlock.lock.plans import Plans
from airlock.lock.python_images import NewVenv, PipLines
from airlock.lock.python_model import PipLine, PythonState
from airlock.lock.python_resolver import PythonResolver
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

_Answer = tuple[list[Demand], list[Artifact]]

# Debian's python3-venv gives a new environment these packages' wheels (README.Debian of python3.11).
_ENSUREPIP = {"pip": "python3-pip-whl", "setuptools": "python3-setuptools-whl"}


class PythonChain:
    """Resolves images, each after its parent.

    Args:
        gathered: the readings.
        plans: image → what apt does there, as it becomes known.
        contents: what files that pip is given hold.
        resolver: for this architecture.
    """

    def __init__(
        self,
        gathered: Gathered,
        plans: Plans,
        contents: Contents,
        resolver: PythonResolver,
        witness: Witness,
        pool: Pool,
    ) -> None:
        self._gathered, self._plans, self._resolver = gathered, plans, resolver
        self._lines = PipLines(gathered, contents)
        self._witness, self._pool = witness, pool
        self._tasks: dict[str, asyncio.Task[_Answer]] = {}
        self._states: dict[str, PythonState] = {}
        self._debs: dict[str, Artifact] = {}
        self._stanzas: dict[str, str] = {}
        self._dists: dict[str, dict[str, str]] = {}

    @asynccontextmanager
    async def asking(self, shortfall: Shortfall) -> AsyncIterator[None]:
        """While it lasts, images are asked for as soon as their plans are known.

        Args:
            shortfall: is told of images whose pip commands cannot be answered.
        """
        for image in self._gathered.tree.images:  # parents first
            work = self._after(self._tasks.get(image.parent), image.name, image.parent, shortfall)
            self._tasks[image.name] = asyncio.create_task(work)
        try:
            yield
        finally:
            for one in self._tasks.values():
                one.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def answers(self, reporter: Reporter) -> tuple[list[Demand], list[Artifact]]:
        """Demands and artifacts of all images that are asked for.

        Raises:
            ResolutionError, UnclassifiedError, UpstreamError: see ``resolve``.
        """
        demands: list[Demand] = []
        artifacts: list[Artifact] = []
        with reporter.task(f"{self._gathered.arch}: Python packages", len(self._tasks), unit="items") as task:
            for one in self._tasks.values():  # in order, so that of several refusals the same one is raised
                asked, found = await one
                task.advance(1)
                demands += asked
                artifacts += found
        return demands, artifacts

    async def _after(
        self, before: asyncio.Task[_Answer] | None, image: str, parent: str, shortfall: Shortfall
    ) -> _Answer:
        """An image's answers, once its plan and its parent's state are known; others are not waited for."""
        await self._plans.known(image)
        if before is not None:
            await asyncio.wait([before])
        if not shortfall.blocks(image, parent):
            with shortfall.of(image):
                return await self.resolve(image, parent)
        return [], []

    async def resolve(self, image: str, parent: str) -> tuple[list[Demand], list[Artifact]]:
        """Demands and artifacts of one image's pip commands.

        Raises:
            ResolutionError, UnclassifiedError, UpstreamError: see the resolver and ``PipLines``.
        """
        state = self._states.get(parent, PythonState())
        demands: list[Demand] = []
        artifacts: list[Artifact] = []
        plan = self._plans.found[image]
        apt = plan.state
        self._debs |= {found.id: found for found in plan.artifacts}
        self._stanzas |= plan.stanzas
        pending: list[PipLine] = []

        async def settle() -> None:
            nonlocal state
            if pending:
                version = interpreter_version(apt, self._gathered.tree.python_version, image)
                system = await self._system(apt)
                found = await self._resolver.resolve(image, pending, state, python_version=version, system=system)
                demands.extend(found.demands)
                artifacts.extend(found.artifacts)
                state = found.state
                pending.clear()

        for step in self._lines.steps(image):
            if isinstance(step, NewVenv):
                await settle()
                state = state.with_venv(step.path, ensurepip_versions(apt))
            else:
                pending.append(step)
        await settle()
        self._states[image] = state
        return demands, artifacts

    async def _system(self, apt: AptState) -> dict[str, str]:
        """What apt's packages have in dist-packages; each .deb is read once."""
        installed = [self._debs[ident] for ident in apt.artifacts]
        found = dict(apt.python)
        for deb in python_debs(installed, self._stanzas):
            if deb.id not in self._dists:
                await fetch_debs([deb], self._witness, self._pool)
                self._dists[deb.id] = python_dists([deb], self._pool)
            found |= self._dists[deb.id]
        return found


def interpreter_version(apt: AptState, minor: str, image: str) -> str:
    """Full version of the image's Python (``3.11.2``), from the package that holds it.

    Raises:
        ResolutionError: no package of that Python is installed.
    """
    versions = apt.versions
    version = versions.get(f"python{minor}-minimal") or versions.get(f"python{minor}")
    if version is None:
        raise ResolutionError(f"image {image} runs pip, but no package installs python{minor}")
    return _upstream(version)


def ensurepip_versions(apt: AptState) -> dict[str, str]:
    """What a new virtual environment holds: project → version."""
    versions = apt.versions
    return {project: _upstream(versions[deb]) for project, deb in _ENSUREPIP.items() if deb in versions}


def _upstream(version: str) -> str:
    """``3.11.2-6+deb12u6`` → ``3.11.2``; ``23.0.1+dfsg-1`` → ``23.0.1`` (deb-version(7))."""
    return re.split(r"[-+~]", version.rpartition(":")[2], maxsplit=1)[0]
