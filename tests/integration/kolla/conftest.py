"""Real Kolla environments, made once and kept below ``.cache/tests``; small definitions to render."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uv

from airlock.core.files import exclusive
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment

CACHE = Path(__file__).resolve().parents[3] / ".cache/tests"


def kolla_environment(version: str) -> Path:
    """The python of a virtual environment with that Kolla from PyPI; made when it is missing."""
    folder = CACHE / f"kolla-{version}"
    done = folder / "complete"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "VIRTUAL"))}
    program = uv.find_uv_bin()
    with exclusive(CACHE / f"kolla-{version}.lock", "a test environment"):
        if not done.exists():
            for arguments in (
                ["venv", "--clear", "--python", sys.executable, str(folder)],
                ["pip", "install", "--python", str(folder / "bin/python"), f"kolla=={version}", "podman", "setuptools"],
            ):
                subprocess.run([program, *arguments], check=True, env=environment, capture_output=True)
            done.touch()
    return folder / "bin/python"


@pytest.fixture(scope="session")
def kolla_python() -> Path:
    """Python of Kolla 18.8.0's environment, the last release on PyPI for OpenStack 2024.1."""
    return kolla_environment("18.8.0")


@pytest.fixture(scope="session")
def kolla(kolla_python: Path) -> KollaEnvironment:
    return KollaEnvironment(kolla_python)


@pytest.fixture(scope="session")
def other_kolla() -> KollaEnvironment:
    """Kolla of another OpenStack release (2024.2)."""
    return KollaEnvironment(kolla_environment("19.8.0"))


Define = Callable[..., LoadedDefinition]


@pytest.fixture
def define(tmp_path: Path) -> Define:
    """Write and load a definition: ``define(images=…, base=…, kolla=…, extra=…, overrides={name: text})``."""

    def make(
        *,
        images: str = '["keystone"]',
        openstack: str = "2024.1",
        base: str = 'distribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64"]',
        kolla: str = "",
        top: str = "",
        overrides: dict[str, str] | None = None,
        folder: str = "definition",
    ) -> LoadedDefinition:
        place = tmp_path / folder
        place.mkdir()
        overrides = overrides or {}
        for name, text in overrides.items():
            (place / name).write_text(text)
        (place / "upper-constraints.txt").write_text("pbr===6.0.0\n")
        (place / "release.toml").write_text(
            f'name = "test"\nopenstack = "{openstack}"\nimages = {images}\n{top}\n'
            f'[kolla]\nversion = "18.8.0"\ntemplate_overrides = {list(overrides)}\n{kolla}\n[base]\n{base}\n'
        )
        return load_definition(place)

    return make
