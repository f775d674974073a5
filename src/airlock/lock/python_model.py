"""Words of the Python resolver: one pip command in, demands and artifacts and the environment after it out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name

from airlock.lock.model import Artifact, Demand


class SourceTree(msgspec.Struct, frozen=True):
    """An archive whose single top folder a pip command installs (``/keystone[ldap]``, ``/plugins/*pycadf*``).

    Attributes:
        name: the project's name.
        file: the archive's own name, with its extension.
        path: where it lies (in the pool).
        artifact: its id in the lock.
        extras: named in the command.
        folder: below the top folder, where the project does not lie at its root.
    """

    name: str
    file: str
    path: Path
    artifact: str
    extras: tuple[str, ...] = ()
    folder: str = ""


class PipLine(msgspec.Struct, frozen=True, kw_only=True):
    """One ``pip install`` of a Dockerfile.

    Attributes:
        line: in the rendered upstream Dockerfile.
        spec: the words of the command: the demand's spec.
        requirements: PEP 508, in order.
        sources: source trees it installs.
        requirement_texts: contents of the files given by ``-r``.
        constraints: text of the files given by ``-c`` as they are by then (after the Dockerfile's own edits).
        upgrade: ``--upgrade``.
        venv: path of the virtual environment, empty for the system's own.
    """

    line: int
    spec: str
    requirements: tuple[str, ...] = ()
    sources: tuple[SourceTree, ...] = ()
    requirement_texts: tuple[str, ...] = ()
    constraints: str = ""
    upgrade: bool = False
    venv: str = ""


class Installed(msgspec.Struct, frozen=True):
    """One distribution in an environment; ``source`` where it came from a source tree (then ``version`` is empty)."""

    name: str
    version: str
    source: SourceTree | None = None


class PythonState(msgspec.Struct, frozen=True):
    """What pip put into an image's environments: path of the environment → normalised name → distribution.

    What apt installed is not in here; it is given to ``resolve`` besides.
    """

    environments: dict[str, dict[str, Installed]] = {}

    def view(self, venv: str, system: Mapping[str, str]) -> dict[str, Installed]:
        """What pip sees there: apt's distributions, covered by pip's own."""
        return installed(system) | self.environments.get(venv, {})

    def with_venv(self, venv: str, ensurepip: Mapping[str, str]) -> PythonState:
        """After ``python3 -m venv``: the environment holds ensurepip's wheels alone."""
        return PythonState(self.environments | {venv: installed(ensurepip)})

    def after(self, venv: str, changed: Iterable[Installed]) -> PythonState:
        """With these distributions new or at another version."""
        before = self.environments.get(venv, {})
        return PythonState(self.environments | {venv: before | {one.name: one for one in changed}})


class PythonResult(msgspec.Struct, frozen=True):
    """Demands of kinds python and python-build, the files that answer them, and the state after the last line."""

    demands: tuple[Demand, ...]
    artifacts: tuple[Artifact, ...]
    state: PythonState


def installed(versions: Mapping[str, str]) -> dict[str, Installed]:
    """Distributions of a plain mapping name → version."""
    return {
        str(canonicalize_name(name)): Installed(str(canonicalize_name(name)), version)
        for name, version in versions.items()
    }
