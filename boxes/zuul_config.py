"""The config project of a box: this checkout's ``zuul/``, and a file that says what is this place's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from boxes.cache import ROOT
from boxes.git import push_files
from boxes.rest import Rest, quoted
from boxes.zuul import Zuul
from boxes.zuul_settings import CONFIG_PROJECT

SOURCE = ROOT / "zuul"
_PARTS = ("playbooks", "roles")
TEMPLATES = {"airlock-site-build": "airlock-site.yaml", "airlock-factory-definition": "airlock-factory.yaml"}
"""Template → the file of ``zuul.d`` that has it; a file whose nodes are nowhere would be an error of Zuul's."""


class Place(msgspec.Struct, frozen=True):
    """What one project runs.

    Attributes:
        project: of Gerrit.
        template: ``airlock-site-build`` or ``airlock-factory-definition``.
        variables: of its jobs (zuul/README.md).
    """

    project: str
    template: str
    variables: Mapping[str, Any] = {}


def shared_files(*places: Place) -> dict[str, bytes]:
    """What of ``zuul/`` these places take: the same for every site, or every factory."""
    files = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for part in _PARTS
        for path in sorted((SOURCE / part).rglob("*"))
        if path.is_file() and path.suffix in (".yaml", ".py")
    }
    for name in ("airlock-base.yaml", *(TEMPLATES[place.template] for place in places)):
        files[f"zuul.d/{name}"] = (SOURCE / "zuul.d" / name).read_bytes()
    return files


def own_files(zuul: Zuul, *places: Place) -> dict[str, bytes]:
    """What is this place's own: what projects run, on the node and with the log server of ``zuul``."""
    logs = {"airlock_logs_folder": str(zuul.logs.files), "airlock_logs_url": zuul.logs.address}
    stanzas = [
        {"project": {"name": place.project, "templates": [place.template], "vars": logs | dict(place.variables)}}
        for place in places
    ]
    return {"zuul.d/nodes.yaml": node_config(zuul), "zuul.d/place.yaml": _yaml(stanzas)}


def configure(zuul: Zuul, *places: Place, seeded: bool = False) -> str:
    """Have the config project hold what these places take, and a running Zuul read it; the commit.

    Projects that Gerrit lacks are made, without a commit: Zuul does not load a tenant otherwise.

    Args:
        seeded: it holds :func:`shared_files` already, from a bundle, and only :func:`own_files` are added.

    Raises:
        ToolError: Gerrit refuses, or Zuul finds errors in it.
    """
    login = zuul.gerrit.airlock
    rest = Rest("gerrit", zuul.network, f"{zuul.gerrit.address}/a", login.user, login.password)
    for project, branch in ((CONFIG_PROJECT, "main"), *((project, "master") for project in zuul.projects)):
        if rest.ask("GET", f"/projects/{quoted(project)}").status == 404:
            made = {"create_empty_commit": False, "branches": [branch]}
            rest.call("PUT", f"/projects/{quoted(project)}", made)
    files = own_files(zuul, *places) | ({} if seeded else shared_files(*places))
    message = "Say what is this place's own"
    commit = push_files(zuul.gerrit, CONFIG_PROJECT, "main", files, message, zuul.network, keep=seeded)
    if zuul.running:
        zuul.reconfigure()
    return commit


def node_config(zuul: Zuul) -> bytes:
    """What the config project says of the node: one file of its ``zuul.d``."""
    labels = [{"label": {"name": label, "image": "node", "flavor": "static"}} for label in zuul.labels]
    image = {"name": "node", "username": zuul.node.user, "connection-port": zuul.node.port}
    names = [{"name": label} for label in zuul.labels]
    section = {
        "name": "static",
        "connection": "static",
        "images": [image | {"python-path": "/usr/bin/python3"}],
        "flavors": [{"name": "static"}],
        "labels": names,
    }
    # The driver wants a node of its own for each label; they are one machine, by other addresses of its loopback.
    nodes = [
        {"name": address, "label": label, "host-key": zuul.node.host_key}
        for address, label in zip(zuul.node.addresses, zuul.labels, strict=True)
    ]
    stanzas = [
        {"image": {"name": "node", "type": "cloud"}},
        {"flavor": {"name": "static"}},
        *labels,
        {"section": section},
        {"provider": {"name": "static", "section": "static", "labels": names, "nodes": nodes}},
    ]
    return _yaml(stanzas)


def _yaml(stanzas: Any) -> bytes:
    """JSON, which YAML reads."""
    return json.dumps(stanzas, indent=1).encode()
