"""`airlock lock` on a definition that cannot be meant: the file, the key, the nearest valid name; nothing is begun."""

from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import airlock, refused
from tests.integration.faults.conftest import Define
from tests.integration.faults.upstreams import Upstreams

DEFINITION = 3

CHANGES = {
    "a key of the top": ('images = ["base"]', 'imagse = ["base"]', ["unknown key 'imagse'", "did you mean 'images'?"]),
    "a key of a table": ("release = ", "relaese = ", ["unknown key 'relaese' in [base]", "did you mean 'release'?"]),
    "a table": ("[base]", "[bose]", ["unknown key 'bose'", "did you mean 'base'?"]),
    "a distribution": ('"debian"', '"debain"', ["base.distribution", "'debain'", "did you mean 'debian'?"]),
    "an architecture": ('"x86_64"', '"x86-64"', ["base.architectures", "'x86-64'", "did you mean 'x86_64'?"]),
    "a type": ('images = ["base"]', 'images = "base"', ["images"]),
    "no TOML": ("[base]", "[base", ["is not TOML"]),
    "no image": ('images = ["base"]', "images = []", ["neither images nor profile"]),
    "a missing override": (
        "template_overrides = []", 'template_overrides = ["gone.j2"]', ["gone.j2", "does not exist"],
    ),
    "an override elsewhere": (
        "template_overrides = []", 'template_overrides = ["../x.j2"]', ["'../x.j2' must lie beside the definition"],
    ),
    "a name that is no folder's": ('name = "faults"', 'name = "a/b"', ["'a/b' cannot name a bundle folder"]),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_misspelt_is_named_with_the_nearest_that_is_not(tmp_path: Path, define: Define, change: str) -> None:
    folder = define()
    file = folder / "release.toml"
    old, new, words = CHANGES[change]
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    refused(airlock("lock", "--factory", tmp_path / "factory", folder), DEFINITION, str(file), *words)
    assert not (tmp_path / "factory").exists()
    assert not (folder / "airlock.lock").exists()


def test_a_definition_that_is_not_there_is_named(tmp_path: Path) -> None:
    refused(airlock("lock", tmp_path / "none.toml", cwd=tmp_path), DEFINITION, "none.toml", "does not exist")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[upstrems.debian]\n", ["unknown key 'upstrems'", "did you mean 'upstreams'?"]),
        ("[fetch]\nretrys = 3\n", ["unknown key 'retrys' in [fetch]", "did you mean 'retries'?"]),
        ('[upstreams.debian]\naddress = "ftp://mirror.example.org/debian"\n', ["upstream debian", "neither http nor"]),
    ],
)
def test_a_factory_toml_that_cannot_be_meant_is_a_usage_error(
    tmp_path: Path, define: Define, text: str, words: list[str]
) -> None:
    (tmp_path / "factory").mkdir()
    (tmp_path / "factory/factory.toml").write_text(text)
    folder = define()
    refused(airlock("lock", "--factory", tmp_path / "factory", folder), 2, *words)
    assert not (folder / "airlock.lock").exists()


IMAGES = {
    "images": ({"images": '["base", "keystome"]'}, ["no image 'keystome'", "did you mean 'keystone'?"]),
    "vendors": ({"top": 'vendor_repositories = ["grafanna"]'}, ["vendor repository 'grafanna'", "'grafana'"]),
    "options": ({"tables": "[kolla.conf.DEFAULT]\nmaintaner = 'x'"}, ["maintaner", "did you mean 'maintainer'?"]),
}


@pytest.mark.parametrize(
    "change",
    ["images", pytest.param("vendors", marks=pytest.mark.full), pytest.param("options", marks=pytest.mark.full)],
)
def test_what_only_kolla_can_know_is_named_with_the_nearest(
    factory: Path, define: Define, upstreams: Upstreams, change: str
) -> None:
    changes, words = IMAGES[change]
    folder = define(**changes)
    refused(airlock("lock", "--factory", factory, folder), DEFINITION, "release.toml", *words)
    assert not (folder / "airlock.lock").exists()
    assert not (factory / "ledger.jsonl").exists()
    assert not [path for path in upstreams.asked if path.startswith("/debian")]
