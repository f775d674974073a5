"""Vendor apt repositories by Kolla's own knobs: which are enabled (``repos_yaml``), which keys ``base`` fetches."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from airlock.kolla.apt_sources import MIRROR
from airlock.kolla.environment import Description

KEY_FOLDER = "/etc/kolla/apt-keys"
"""Where Kolla's ``base`` puts the keys of vendor repositories."""

_NOBLE = ("24.04", "noble")


def kept_repositories(
    kolla: Description, distribution: str, release: str, arch: str, kept: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Name → the entry of Kolla's ``repos.yaml`` of the repositories that a definition keeps.

    One that Kolla does not have for this architecture is left out, as Kolla itself does. What is chosen follows
    ``kolla.template.methods.handle_repos``.
    """
    newer = kolla.repos.get("repos-noble.yaml")
    bases = newer if newer and release.startswith(_NOBLE) else kolla.repos.get("repos.yaml", {})
    known = bases.get(f"{distribution}-{arch}", bases.get(distribution, {}))
    return {name: entry for name, entry in known.items() if name in kept}


def repos_yaml(distribution: str, repositories: Mapping[str, Mapping[str, Any]]) -> bytes:
    """A file for Kolla's option ``repos_yaml`` that enables these alone (JSON is YAML)."""
    return json.dumps({distribution: repositories}, indent=1).encode() + b"\n"


def sealed(name: str, entry: Any) -> Any:
    """The entry that leads to the mirror; it stays what it is where it is none of apt.

    Kolla writes a line of a ``.sources`` file for every value, by ``echo``, and has none for ``Trusted``: the value of
    the components ends its own line and begins one more. The bundle's index is not signed, its manifest vouches for it.
    """
    if not isinstance(entry, dict):
        return entry
    suite = str(entry["suite"])
    file = f"/etc/apt/sources.list.d/{name}.sources"
    return entry | {
        "url": f"{MIRROR}/apt/{name}",
        "suite": "/" if suite == "./" else suite,
        "component": f"{entry['component']}' >>{file} && echo 'Trusted: yes",
    }


def keys_override(kolla: Description, repositories: Mapping[str, Any]) -> bytes:
    """A template override under which ``base`` fetches the keys of these repositories and no other."""
    wanted = {str(entry["gpg_key"]) for entry in repositories.values() if isinstance(entry, dict)}
    lines = ["{# Only the keys of the vendor repositories that the release definition keeps. -#}"]
    for variable in ("base_apt_keys", "base_remote_apt_keys"):
        keys = [key for key in kolla.keys.get(variable, []) if _file(variable, key) in wanted]
        lines.append(f"{{% set {variable}_override = {json.dumps(keys)} %}}")
    return ("\n".join(lines) + "\n").encode()


def _file(variable: str, key: Mapping[str, str]) -> str:
    """Name of the file that base's template stores a key in."""
    return f"{key['name']}.{'gpg' if variable == 'base_apt_keys' else key.get('type', 'asc')}"
