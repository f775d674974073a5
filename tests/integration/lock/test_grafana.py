"""Grafana's plugins from a stand-in of each form of its index, and the room's index asked as grafana-cli asks it."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.ecosystem_ground import gathered, resolve, room
from tests.web_server import answering

from airlock.core.errors import AirlockError, IntegrityError, ResolutionError, UnclassifiedError
from airlock.lock.ecosystem import Answers
from airlock.lock.grafana import GrafanaPlugins, in_range
from airlock.store.pool import Pool

INSTALL = "RUN grafana-cli plugins install"
KOLLA = f"{INSTALL} gnocchixyz-gnocchi-datasource \\\n    && grafana-cli plugins install grafana-opensearch-datasource"


def plugin(name: str, *needs: str) -> bytes:
    stream = io.BytesIO()
    described = {"id": name, "dependencies": {"plugins": [{"id": one, "type": "panel"} for one in needs]}}
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{name}/nested/plugin.json", json.dumps({"id": "inner"}))
        archive.writestr(f"{name}/plugin.json", json.dumps(described))
    return stream.getvalue()


class Stand:
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

    def answer(self, path: str) -> bytes | str | None:
        match path.removeprefix("/api/plugins").strip("/").split("/"):
            case ["repo", name] if self.older and name in self.plugins:
                return json.dumps({"id": name, "versions": self.plugins[name]}).encode()
            case [name, "versions"] if not self.older:
                return json.dumps({"items": self.plugins.get(name, [])}).encode()
            case [name, "versions", version, "download"]:
                return f"/storage/{name}-{version}.zip"
        return self.files.get(path)


async def install(stand: Stand, tmp_path: Path, run: str, *, arch: str = "x86_64", grafana: str = "11.2.0") -> Answers:
    asked = gathered({"grafana": run}, tmp_path / "context")
    if arch != "x86_64":
        demands = tuple(msgspec.structs.replace(one, arch=arch) for one in asked.demands)
        asked = msgspec.structs.replace(asked, demands=demands)
        asked.tree.arch = arch  # type: ignore[misc]
    plans = {"grafana": SimpleNamespace(state=SimpleNamespace(versions={"grafana": grafana}))}
    with stand.serving() as address:
        return await resolve(GrafanaPlugins(), asked, address, Pool(tmp_path / f"pool-{arch}"), plans=plans)


def versions(found: Answers) -> dict[str, str]:
    return {artifact.name: artifact.version for artifact in found.artifacts}


def kollas(stand: Stand) -> None:
    stand.add("gnocchixyz-gnocchi-datasource", "1.7.1")
    stand.add("gnocchixyz-gnocchi-datasource", "1.7.0")
    stand.add("grafana-opensearch-datasource", "3.0.0", "linux-amd64", dependency=">=12.0.0")
    stand.add("grafana-opensearch-datasource", "2.20.0", "linux-amd64", "darwin-arm64", dependency=">=10.4.0")
    stand.add("grafana-opensearch-datasource", "2.19.0", "linux-amd64", "linux-arm64", dependency=">=10.4.0")


@pytest.mark.parametrize("older", [False, True])
async def test_kollas_two_are_the_newest_for_this_machine_and_this_grafana(tmp_path, older):
    stand = Stand(older=older)
    kollas(stand)
    found = await install(stand, tmp_path, KOLLA)
    assert versions(found) == {"gnocchixyz-gnocchi-datasource": "1.7.1", "grafana-opensearch-datasource": "2.20.0"}
    other = await install(stand, tmp_path, KOLLA, arch="aarch64")
    assert versions(other)["grafana-opensearch-datasource"] == "2.19.0", "the newest one exists for x86_64 alone"
    assert {one.arch for one in found.artifacts} == {"any", "x86_64"}
    assert [len(one.artifacts) for one in found.demands] == [1, 1]


async def test_the_room_answers_what_any_grafana_cli_asks(tmp_path):
    stand = Stand()
    kollas(stand)
    found = await install(stand, tmp_path, KOLLA)
    files = {hashlib.sha256(data).hexdigest(): data for data in stand.files.values()}
    with room(GrafanaPlugins(), found, files) as (address, _):

        def get(path: str) -> bytes:
            with urllib.request.urlopen(f"{address}/{path}") as answer:
                return bytes(answer.read())

        for name, version in versions(found).items():
            newer, older = json.loads(get(f"{name}/versions"))["items"], json.loads(get(f"repo/{name}"))["versions"]
            assert newer == older
            (one,) = newer
            assert one["version"] == version
            data = get(f"{name}/versions/{version}/download")
            (machine,) = one["arch"]
            assert machine in ("any", "linux-amd64")
            assert one["arch"][machine]["sha256"] == hashlib.sha256(data).hexdigest()


async def test_what_a_plugin_needs_comes_with_it_once(tmp_path):
    stand = Stand()
    stand.add("a", "1.0.0", "any", data=plugin("a", "b", "c"))
    stand.add("b", "1.0.0", "any", data=plugin("b", "c", "a"))
    stand.add("c", "2.0.0", "any")
    found = await install(stand, tmp_path, f"{INSTALL} a")
    assert versions(found) == {"a": "1.0.0", "b": "1.0.0", "c": "2.0.0"}


async def test_a_second_word_is_a_version(tmp_path):
    stand = Stand()
    kollas(stand)
    found = await install(stand, tmp_path, f"{INSTALL} gnocchixyz-gnocchi-datasource 1.7.0")
    assert versions(found) == {"gnocchixyz-gnocchi-datasource": "1.7.0"}
    with pytest.raises(UnclassifiedError, match="what follows its name is a version"):
        await install(stand, tmp_path, f"{INSTALL} a b c")


def lies(stand: Stand) -> None:
    stand.add("a", "1.0.0", "any")
    stand.files["/storage/a-1.0.0.zip"] = plugin("b")


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda stand: None, ResolutionError, "plugin a in any version is not for linux-amd64 and Grafana 11.2.0"),
        (lambda stand: stand.add("a", "1.0.0", "windows-amd64"), ResolutionError, "is not for linux-amd64"),
        (lambda stand: stand.add("a", "1.0.0", dependency="new"), ResolutionError, "is not understood"),
        (lambda stand: stand.add("a", "../1"), ResolutionError, "has a version '../1'"),
        (lies, IntegrityError, "its index declares"),
        (lambda stand: stand.add("a", "1.0.0", data=b"<html>"), IntegrityError, "is no plugin of Grafana"),
        (
            lambda stand: stand.add("a", "1.0.0", data=plugin("a", "../b")),
            ResolutionError,
            "needs '../b', which cannot",
        ),
    ],
)
async def test_what_cannot_be_is_refused_with_image_and_line(tmp_path, change, kind: type[AirlockError], said):
    stand = Stand()
    change(stand)
    with pytest.raises(kind) as caught:
        await install(stand, tmp_path, f"{INSTALL} a")
    assert str(caught.value).startswith("image grafana (x86_64), line 2")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("version", "wanted", "within"),
    [
        ("11.2.0", ">=10.4.0", True),
        ("11.2.0", ">= 10.4.0 < 11", False),
        ("11.2.0", "^11.1", True),
        ("12.0.0", "^11.1", False),
        ("9.5.3", "9.x || 10.x", True),
        ("11.0.0", "9.x || 10.x", False),
        ("11.2.9", "~11.2.1", True),
        ("11.2.0", "*", True),
        ("11.2.0-1", ">11.2.0", False),
        ("11.2.0", ">=12.0.0-0", False),
    ],
)
def test_ranges_of_grafana(version, wanted, within):
    assert in_range(version, wanted) is within
