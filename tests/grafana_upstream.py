"""A stand-in for the index of Grafana's plugins on loopback, in both forms that grafana-cli has asked for over time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.web_server import Answer, answering


def plugin(name: str, *needs: str) -> bytes:
    stream = io.BytesIO()
    described = {"id": name, "dependencies": {"plugins": [{"id": one, "type": "panel"} for one in needs]}}
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{name}/nested/plugin.json", json.dumps({"id": "inner"}))
        archive.writestr(f"{name}/plugin.json", json.dumps(described))
    return stream.getvalue()


class PluginStandIn:
    """An index of the newer form, or (``older``) of the older one; a download is behind a redirect."""

    def __init__(self, *, older: bool = False) -> None:
        self.older = older
        self.plugins: dict[str, list[dict[str, Any]]] = {}
        self.files: dict[str, bytes] = {}

    def add(self, name: str, version: str, *machines: str, dependency: str = "", data: bytes = b"") -> None:
        data = data or plugin(name)
        declared = {machine: {"sha256": hashlib.sha256(data).hexdigest()} for machine in machines}
        entry = {"version": version, "arch": declared or None, "grafanaDependency": dependency}
        self.plugins.setdefault(name, []).append(entry)
        self.files[f"/storage/{name}-{version}.zip"] = data

    @contextmanager
    def serving(self) -> Iterator[str]:
        with answering(self.answer) as address:
            yield f"{address}/api/plugins"

    def answer(self, path: str) -> Answer:
        match path.removeprefix("/api/plugins").strip("/").split("/"):
            case ["repo", name] if self.older and name in self.plugins:
                return json.dumps({"id": name, "versions": self.plugins[name]}).encode()
            case [name, "versions"] if not self.older:
                return json.dumps({"items": self.plugins.get(name, [])}).encode()
            case [name, "versions", version, "download"]:
                return f"/storage/{name}-{version}.zip"
        return self.files.get(path)


def kollas(stand: PluginStandIn) -> None:
    """Kolla's two, and versions for another machine or a later Grafana."""
    stand.add("gnocchixyz-gnocchi-datasource", "1.7.1")
    stand.add("gnocchixyz-gnocchi-datasource", "1.7.0")
    stand.add("grafana-opensearch-datasource", "3.0.0", "linux-amd64", dependency=">=12.0.0")
    stand.add("grafana-opensearch-datasource", "2.20.0", "linux-amd64", "darwin-arm64", dependency=">=10.4.0")
    stand.add("grafana-opensearch-datasource", "2.19.0", "linux-amd64", "linux-arm64", dependency=">=10.4.0")
