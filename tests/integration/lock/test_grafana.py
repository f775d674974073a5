"""Grafana's plugins from a stand-in of each form of its index, and the room's index asked as grafana-cli asks it."""

from __future__ import annotations

import hashlib
import json
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from tests.ecosystem_ground import gathered, resolve, room
from tests.grafana_upstream import PluginStandIn, kollas, plugin

from airlock.core.errors import AirlockError, IntegrityError, ResolutionError, UnclassifiedError
from airlock.lock.ecosystem import Answers
from airlock.lock.grafana import GrafanaPlugins, in_range
from airlock.store.pool import Pool

INSTALL = "RUN grafana-cli plugins install"
KOLLA = f"{INSTALL} gnocchixyz-gnocchi-datasource \\\n    && grafana-cli plugins install grafana-opensearch-datasource"


async def install(
    stand: PluginStandIn, tmp_path: Path, run: str, *, arch: str = "x86_64", grafana: str = "11.2.0"
) -> Answers:
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


@pytest.mark.parametrize("older", [False, True])
async def test_kollas_two_are_the_newest_for_this_machine_and_this_grafana(tmp_path, older):
    stand = PluginStandIn(older=older)
    kollas(stand)
    found = await install(stand, tmp_path, KOLLA)
    assert versions(found) == {"gnocchixyz-gnocchi-datasource": "1.7.1", "grafana-opensearch-datasource": "2.20.0"}
    other = await install(stand, tmp_path, KOLLA, arch="aarch64")
    assert versions(other)["grafana-opensearch-datasource"] == "2.19.0", "the newest one exists for x86_64 alone"
    assert {one.arch for one in found.artifacts} == {"any", "x86_64"}
    assert [len(one.artifacts) for one in found.demands] == [1, 1]


async def test_the_room_answers_what_any_grafana_cli_asks(tmp_path):
    stand = PluginStandIn()
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
    stand = PluginStandIn()
    stand.add("a", "1.0.0", "any", data=plugin("a", "b", "c"))
    stand.add("b", "1.0.0", "any", data=plugin("b", "c", "a"))
    stand.add("c", "2.0.0", "any")
    found = await install(stand, tmp_path, f"{INSTALL} a")
    assert versions(found) == {"a": "1.0.0", "b": "1.0.0", "c": "2.0.0"}


async def test_a_second_word_is_a_version(tmp_path):
    stand = PluginStandIn()
    kollas(stand)
    found = await install(stand, tmp_path, f"{INSTALL} gnocchixyz-gnocchi-datasource 1.7.0")
    assert versions(found) == {"gnocchixyz-gnocchi-datasource": "1.7.0"}
    with pytest.raises(UnclassifiedError, match="what follows its name is a version"):
        await install(stand, tmp_path, f"{INSTALL} a b c")


def lies(stand: PluginStandIn) -> None:
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
    stand = PluginStandIn()
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
