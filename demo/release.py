"""The demonstration's release definition: the example's, with Kolla from git and a base image by digest."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

from airlock.core.files import write_file
from demo.steps import ROOT

EXAMPLE = ROOT / "examples" / "keystone"


def write_definition(folder: Path, *, images: list[str], base_image: str, projects: list[str]) -> None:
    """Write ``release.toml`` and the files it names.

    Args:
        images: those wanted; empty for the example's own.
        base_image: reference by digest.
        projects: git repositories that the site needs besides Kolla's, at their branch ``main``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXAMPLE / "upper-constraints.txt", folder)
    text = (EXAMPLE / "release.toml").read_text("utf-8")
    version = tomllib.loads(text)["kolla"]["version"]
    text = _swap(text, f'source = "pypi"\nversion = "{version}"', f'source = "git"\nref = "{version}"')
    text = _swap(text, 'image = "packages"', f'image = "{base_image}"')
    text = _swap(text, '-keystone"\n', '-real"\n')
    if images:
        quoted = ", ".join(f'"{image}"' for image in images)
        text = _swap(text, 'images = ["keystone", "keystone-fernet", "keystone-ssh"]', f"images = [{quoted}]")
        if "keystone" not in images:
            text = _swap(text, 'keystone = ["keystone-manage", "--version"]\n', "")
    text += "".join(f'\n[git.{project}]\nref = "main"\n' for project in projects)
    write_file(folder / "release.toml", text.encode())


def _swap(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"examples/keystone/release.toml does not have just one {old!r}")
    return text.replace(old, new)
