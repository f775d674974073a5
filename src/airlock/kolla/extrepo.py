"""extrepo in Kolla's ``base``: a stand-in for it that does nothing, or puts what is locked where extrepo would.

Kolla runs ``extrepo enable NAME`` outside of every block. A program of that name, found first in PATH, answers in its
place (docs/ecosystems/extrepo.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from airlock.kolla.apt_sources import MIRROR


def stand_in(repositories: Mapping[str, tuple[str, str]]) -> bytes:
    """The program: ``enable`` of one of these takes what is locked from the mirror, all else does nothing.

    Either way apt's lists are removed.

    Args:
        repositories: name → addresses in the room's pool of the key, and of the source as extrepo would write it.
    """
    if not repositories:
        return _template("airlock-extrepo")
    cases = [
        f'"enable {name}") enable {name} {key} {source} ;;' for name, (key, source) in sorted(repositories.items())
    ]
    text = _template("airlock-extrepo-kept").decode()
    return text.replace("@mirror@", MIRROR).replace("@repositories@", "\n".join(cases)).encode()


def override() -> bytes:
    """The template override under which ``base`` finds the stand-in first."""
    return _template("instead-of-extrepo.j2")


def _template(name: str) -> bytes:
    return resources.files("airlock.kolla").joinpath("templates", name).read_bytes()
