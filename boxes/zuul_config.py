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
# A template and the file that has it. One that no project runs is left out: its labels and pipelines are not there.
_TEMPLATES = {
    "airlock-site-build": "zuul.d/airlock-site.yaml",
    "airlock-factory-definition": "zuul.d/airlock-factory.yaml",
}
_PARTS = ("zuul.d", "playbooks", "roles")


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


def config_files(zuul: Zuul, *places: Place) -> dict[str, bytes]:
    """Every file of a config project: what projects run, on the node and with the log server of ``zuul``."""
    files = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for part in _PARTS
        for path in sorted((SOURCE / part).rglob("*"))
        if path.is_file() and path.suffix in (".yaml", ".py")
    }
    for template in _TEMPLATES.keys() - {place.template for place in places}:
        del files[_TEMPLATES[template]]
    logs = {"airlock_logs_folder": str(zuul.logs.files), "airlock_logs_url": zuul.logs.address}
    stanzas = [
        {"project": {"name": place.project, "templates": [place.template], "vars": logs | dict(place.variables)}}
        for place in places
    ]
    return files | {"zuul.d/nodes.yaml": node_config(zuul), "zuul.d/place.yaml": _yaml(stanzas)}


def configure(zuul: Zuul, *places: Place) -> str:
    """Have the config project hold :func:`config_files`, and a running Zuul read it; the commit.

    Projects that Gerrit lacks are made, without a commit: Zuul does not load a tenant otherwise.

    Raises:
        ToolError: Gerrit refuses, or Zuul finds errors in it.
    """
    login = zuul.gerrit.airlock
    rest = Rest("gerrit", zuul.network, f"{zuul.gerrit.address}/a", login.user, login.password)
    for project, branch in ((CONFIG_PROJECT, "main"), *((project, "master") for project in zuul.projects)):
        if rest.ask("GET", f"/projects/{quoted(project)}").status == 404:
            made = {"create_empty_commit": False, "branches": [branch]}
            rest.call("PUT", f"/projects/{quoted(project)}", made)
    files = config_files(zuul, *places)
    commit = push_files(zuul.gerrit, CONFIG_PROJECT, "main", files, "Configure this place's Zuul", zuul.network)
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
