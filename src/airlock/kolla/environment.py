"""Kolla's own virtual environment, and how it is asked: one worker process a question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from airlock.core.errors import AirlockError, DefinitionError, ToolError
from airlock.core.process import clean_environment, last_lines, run

WORKER = Path(__file__).with_name("worker.py")
_TIMEOUT = 600.0  # seconds; rendering takes some five
_MAX_ANSWER = 64 << 20  # bytes


class SourceWant(msgspec.Struct, frozen=True):
    """One source that kolla-build would fetch for an image, as Kolla's configuration says.

    Attributes:
        section: section of kolla-build.conf (``keystone-base``, ``openstack-base-plugin-pycadf``).
        role: ``source``, ``plugin`` or ``addition``.
        type: ``url``, ``git`` or ``local``.
        location: its address (or path), variables put in.
        reference: branch, tag or commit, for ``git``.
        sha256: what Kolla declares, by Debian's architecture; empty where it declares nothing.
    """

    section: str
    role: Literal["source", "plugin", "addition"]
    type: str
    location: str
    reference: str = ""
    sha256: dict[str, str] = {}
    enabled: bool = True


class WorkerImage(msgspec.Struct, frozen=True):
    """One image as Kolla sees it.

    Attributes:
        path: relative to the rendered root.
        status: Kolla's word; ``unbuildable`` holds for descendants, too.
        profiles: those of the profiles asked for that it is in.
        unbuildable: base or architecture that Kolla lists it itself as unbuildable on.
        repositories: vendor repositories that its template enables, whether or not the configuration has them.
    """

    name: str
    canonical_name: str
    parent: str
    path: str
    status: Literal["matched", "unmatched", "unbuildable", "skipped", "unprocessed"]
    sources: list[SourceWant]
    profiles: list[str] = []
    unbuildable: str = ""
    repositories: list[str] = []


class Description(msgspec.Struct, frozen=True):
    """What this Kolla is and knows.

    Attributes:
        version: as pbr says (``18.8.0``, ``18.8.1.dev3`` from git).
        docker: folder of its templates.
        bases, architectures, profiles: the names it knows.
        options: of ``[DEFAULT]``; ``sections``: section → its options.
        repositories: vendor apt repositories of repos.yaml by base.
        extrepo: repositories that ``base`` enables by extrepo.
        repos: file → base (``debian``, ``debian-aarch64``) → repository → how it is enabled, as Kolla's own files say.
        keys: list of base's template (``base_apt_keys`` …) → the keys that it fetches, as the template has them.
    """

    version: str
    docker: str
    bases: list[str]
    architectures: list[str]
    profiles: list[str]
    options: list[str]
    sections: dict[str, list[str]]
    repositories: dict[str, list[str]]
    extrepo: list[str]
    repos: dict[str, dict[str, dict[str, Any]]] = {}
    keys: dict[str, list[dict[str, str]]] = {}


class Rendered(msgspec.Struct, frozen=True):
    """The worker's answer to ``render``: every image that Kolla has, wanted or not."""

    root: str
    images: list[WorkerImage]
    tarballs_base: str
    distro_python_version: str


class _Failure(msgspec.Struct, frozen=True):
    kind: str
    message: str


T = TypeVar("T")


class KollaEnvironment:
    """A virtual environment that holds Kolla, PyPI's ``podman`` and ``setuptools``.

    Args:
        python: its interpreter. Nothing else of this machine's Python or Kolla configuration is read.
    """

    def __init__(self, python: Path) -> None:
        self.python = python

    @property
    def command(self) -> list[str]:
        """Command line of the worker."""
        return [str(self.python), "-I", str(WORKER)]

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the worker: without proxies, which Kolla would render into Dockerfiles."""
        return clean_environment(GIT_PYTHON_REFRESH="quiet", PYTHONDONTWRITEBYTECODE="1")

    @cached_property
    def description(self) -> Description:
        """What this Kolla is.

        Raises:
            ToolError: there is no working Kolla.
        """
        return self.ask({"command": "describe"}, "description", Description)

    def ask(self, request: Mapping[str, Any], event: str, answer: type[T]) -> T:
        """Send one request and return the values of its ``event``.

        Raises:
            DefinitionError: Kolla or Jinja refuses what the definition says.
            ToolError: there is no working Kolla at ``python``.
        """
        if not self.python.exists():
            raise ToolError(f"there is no Kolla environment at {self.python}", remedy="Run the same command again.")
        line = json.dumps(request).encode() + b"\n"
        result = run(self.command, env=self.environment, data=line, timeout=_TIMEOUT)
        if len(result.stdout) <= _MAX_ANSWER:
            for raw in result.stdout.splitlines():
                values = msgspec.json.decode(raw, type=dict[str, Any])
                if values.get("event") == "error":
                    raise _refusal(msgspec.convert(values, _Failure))
                if values.get("event") == event:
                    return msgspec.convert(values, answer)
        raise ToolError(
            f"Kolla's environment {self.python.parent.parent} does not work: {last_lines(result)}",
            remedy="Remove that folder; the same command makes it again.",
        )


def _refusal(failure: _Failure) -> AirlockError:
    what = {"template": "template override", "configuration": "Kolla configuration"}.get(failure.kind, "Kolla")
    return DefinitionError(f"{what}: {failure.message}")
