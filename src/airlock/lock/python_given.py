"""What each image gives its pip commands without pip: an interpreter, a platform, and what apt put beside them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from airlock.lock.apt_python import python_debs, python_dists
from airlock.lock.apt_resolver import AptResult
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact
from airlock.lock.python_chain import interpreter_version
from airlock.lock.python_files import GLIBC, Target
from airlock.store.pool import Pool


class PythonOfImages:
    """The images of one architecture; each is looked at once.

    Args:
        plans: image → what apt does there.
        pool: where the packages are.
    """

    def __init__(self, gathered: Gathered, plans: Mapping[str, AptResult], pool: Pool) -> None:
        self._gathered, self._plans, self._pool = gathered, plans, pool
        self._system: dict[str, dict[str, str]] = {}
        self._read: dict[str, dict[str, str]] = {}
        self._versions: dict[str, str] = {}

    def of_apt(self, image: str) -> dict[str, str]:
        """What apt's packages have in dist-packages: normalised name → version."""
        if image not in self._system:
            apt = self._plans[image].state
            installed = [self._debs[ident] for ident in apt.artifacts]
            found = dict(apt.python)
            for deb in python_debs(installed, self._stanzas):
                found |= self._deb(deb)
            self._system[image] = found
        return self._system[image]

    def markers(self, image: str) -> dict[str, str]:
        """The variables of PEP 508."""
        full = self._python(image)
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self._gathered.arch,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": ".".join(full.split(".")[:2]),
            "sys_platform": "linux",
        }

    def target(self, image: str) -> Target:
        """What its files must be for."""
        return Target(self._python(image), self._gathered.arch, GLIBC[self._gathered.definition.base.release])

    @cached_property
    def _stanzas(self) -> dict[str, str]:
        return {ident: text for plan in self._plans.values() for ident, text in plan.stanzas.items()}

    @cached_property
    def _debs(self) -> dict[str, Artifact]:
        return {found.id: found for plan in self._plans.values() for found in plan.artifacts}

    def _deb(self, deb: Artifact) -> dict[str, str]:
        if deb.id not in self._read:
            self._read[deb.id] = python_dists([deb], self._pool)
        return self._read[deb.id]

    def _python(self, image: str) -> str:
        if image not in self._versions:
            minor = self._gathered.tree.python_version
            self._versions[image] = interpreter_version(self._plans[image].state, minor, image)
        return self._versions[image]
