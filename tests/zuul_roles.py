"""The programs in Zuul's roles, which run on nodes: as modules, to be tested without Zuul."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROLES = Path(__file__).parents[1] / "zuul/roles"


def role_file(role: str, name: str) -> Path:
    """A program of a role."""
    return ROLES / role / "files" / f"{name}.py"


def role_program(role: str, name: str) -> ModuleType:
    """The same as a module."""
    spec = importlib.util.spec_from_file_location(name, role_file(role, name))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
