"""The config project of a box: this checkout's ``zuul/``, and a file that says what is this place's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from boxes.cache import ROOT
from boxes.zuul import Zuul

SOURCE = ROOT / "zuul"
_PARTS = ("zuul.d", "playbooks", "roles")


def config_files(zuul: Zuul, template: str, project: str, variables: Mapping[str, Any]) -> dict[str, bytes]:
    """Every file of a config project.

    Args:
        zuul: whose node it names, and whose log server.
        template: what the project runs: ``airlock-site-build`` or ``airlock-factory-definition``.
        project: which project.
        variables: of its jobs (zuul/README.md).
    """
    files = {
        path.relative_to(SOURCE).as_posix(): path.read_bytes()
        for part in _PARTS
        for path in sorted((SOURCE / part).rglob("*"))
        if path.is_file() and path.suffix in (".yaml", ".py")
    }
    told = {"airlock_logs_folder": str(zuul.logs.files), "airlock_logs_url": zuul.logs.address} | dict(variables)
    place = [{"project": {"name": project, "templates": [template], "vars": told}}]
    return files | {"zuul.d/nodes.yaml": zuul.node_config(), "zuul.d/place.yaml": json.dumps(place, indent=1).encode()}
