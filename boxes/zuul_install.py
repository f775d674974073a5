"""Where Zuul comes from: two virtual environments, pinned by hash, made once a machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from boxes.cache import ROOT, cache, made_once, python_environment

ANSIBLE = "11"
"""What Zuul 14.3 takes by default (its lib/ansible-config.conf)."""
_OTHERS = ("9",)


class Installed(msgspec.Struct, frozen=True):
    """Zuul on this machine.

    Attributes:
        programs: folder of ``zuul-scheduler`` and the others.
        python: what runs them.
        ansible: environment of the Ansible that jobs run with.
        ansible_root: folder with one environment a version, as Zuul looks for them.
    """

    programs: Path
    python: Path
    ansible: Path
    ansible_root: Path


def install() -> Installed:
    """Zuul and its Ansible; fetched when they are missing.

    Raises:
        ToolError: python3 cannot make an environment, or pip fails.
    """
    zuul = python_environment(ROOT / "requirements/zuul.txt")
    ansible = python_environment(ROOT / "requirements/zuul-ansible.txt")

    def link(folder: Path) -> None:
        # The executor starts only if every version it knows answers. No job asks for the others.
        folder.mkdir()
        for version in (ANSIBLE, *_OTHERS):
            (folder / version).symlink_to(ansible)

    root = made_once(cache() / f"{ansible.name}-versions", link, needed=0)
    return Installed(zuul / "bin", zuul / "bin/python", ansible, root)
