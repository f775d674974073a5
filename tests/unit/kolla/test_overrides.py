from __future__ import annotations

import json
from collections.abc import Callable
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airlock.core.errors import DefinitionError
from airlock.core.process import run
from airlock.definition.model import BaseTable, Definition, KollaTable, LoadedDefinition
from airlock.kolla.apt_sources import MIRROR
from airlock.kolla.environment import Description
from airlock.kolla.extrepo import stand_in
from airlock.kolla.overrides import BASE_IMAGE, Knobs, SealedSource, base_reference, check_names, write_knobs
from airlock.kolla.vendors import kept_repositories

DIGEST = "sha256:" + "ab" * 32
LIST = "deb http://mirror.example.org/debian bookworm main\n"


@pytest.fixture
def description(tmp_path: Path) -> Description:
    base = tmp_path / "docker/base"
    base.mkdir(parents=True)
    (base / "sources.list.debian").write_text(LIST)
    (base / "sources.list.ubuntu.jammy").write_text(LIST.replace("bookworm", "jammy"))
    (base / "sources.list.ubuntu.jammy.aarch64").write_text(LIST.replace("bookworm", "jammy").replace("/debian", "/p"))
    return Description(
        version="18.8.0",
        docker=str(tmp_path / "docker"),
        bases=["centos", "debian", "rocky", "ubuntu"],
        architectures=["x86_64", "aarch64"],
        profiles=["main"],
        options=["base", "maintainer", "openstack_branch", "tarballs_base", "apt_preferences", "retries"],
        sections={"profiles": ["main"], "keystone-base": ["type", "location", "version"], "nova-user": ["uid"]},
        repositories={"debian": ["grafana", "rabbitmq"]},
        extrepo=["openstack_caracal"],
    )


Define = Callable[..., LoadedDefinition]


def loaded(base: dict[str, Any] | None = None, kolla: dict[str, Any] | None = None, **fields: Any) -> LoadedDefinition:
    table = {"distribution": "debian", "release": "bookworm", "architectures": ["x86_64", "aarch64"]} | (base or {})
    definition = Definition(
        name="t",
        openstack="2024.1",
        kolla=KollaTable(version="18.8.0", **(kolla or {})),
        base=msgspec.convert(table, BaseTable),
        images=["keystone"],
        **fields,
    )
    return LoadedDefinition(definition, Path("release.toml"), {"mine.j2": b"{% block labels %}{% endblock %}"}, "")


def conf_of(knobs: Knobs) -> RawConfigParser:
    parser = RawConfigParser(delimiters=("=",))
    parser.read_string(knobs.conf.read_text())
    return parser


def test_the_upstream_rendering_keeps_kollas_addresses(tmp_path: Path, description: Description) -> None:
    knobs = write_knobs(loaded(), description, "x86_64", "upstream", tmp_path / "w")
    text = "".join(path.read_text() for path in (tmp_path / "w").rglob("*") if path.is_file())
    assert "mirror.airlock.internal" not in text
    assert not (tmp_path / "w/overlay/base/sources.list.debian").exists()
    assert [path.name for path in knobs.overrides] == ["labels.j2", "vendor-keys.j2", "instead-of-extrepo.j2"]


def test_the_sealed_rendering_leads_sources_and_lists_to_the_mirror(tmp_path: Path, description: Description) -> None:
    sources = {"keystone-base": SealedSource("keystone-25.0.0+a$b.tar.gz", "ab" * 32)}
    definition = loaded(kolla={"conf": {"keystone-base": {"location": "http://mirror.example.org/x", "version": "1"}}})
    knobs = write_knobs(definition, description, "aarch64", "sealed", tmp_path / "w", sources)
    section = conf_of(knobs)["keystone-base"]
    assert section["location"] == "http://mirror.airlock.internal/sources/keystone-base/keystone-25.0.0%2Ba%24b.tar.gz"
    assert section["sha256"] == "arm64:" + "ab" * 32
    assert (section["type"], section["version"]) == ("url", "1")
    sealed = (tmp_path / "w/overlay/base/sources.list.debian").read_text()
    assert sealed == "deb [trusted=yes] http://mirror.airlock.internal/apt/debian bookworm main\n"
    assert conf_of(knobs)["DEFAULT"]["pull"] == "False"


def test_the_users_overrides_stand_before_the_mirrors_pip_settings(tmp_path: Path, description: Description) -> None:
    definition = loaded(kolla={"template_overrides": ["mine.j2"]})
    names = [
        path.name for path in write_knobs(definition, description, "x86_64", "sealed", tmp_path / "w", {}).overrides
    ]
    assert names.index("labels.j2") < names.index("mine.j2") < names.index("sealed-pip.j2")
    assert names.index("sealed-header.j2") < names.index("mine.j2")


@pytest.mark.parametrize(("arch", "path"), [("x86_64", "debian"), ("aarch64", "p")])
def test_ubuntu_takes_the_list_of_its_release_and_architecture(
    tmp_path: Path, description: Description, arch: str, path: str
) -> None:
    definition = loaded(base={"distribution": "ubuntu", "release": "jammy"})
    knobs = write_knobs(definition, description, arch, "sealed", tmp_path / "w", {})
    sealed = (tmp_path / "w/overlay/base" / knobs.sources_list).read_text()
    assert sealed == f"deb [trusted=yes] http://mirror.airlock.internal/apt/{path} jammy main\n"


def test_the_base_image_in_the_room_has_one_name() -> None:
    reference = loaded(base={"image": f"registry.example.org:5000/debian@{DIGEST}"})
    assert base_reference(reference, "sealed") == (BASE_IMAGE, "bookworm")
    assert base_reference(reference, "upstream") == ("registry.example.org:5000/debian", f"bookworm@{DIGEST}")
    tagged = loaded(base={"image": f"registry.example.org/ubuntu:22.04@{DIGEST}"})
    assert base_reference(tagged, "upstream") == ("registry.example.org/ubuntu", f"22.04@{DIGEST}")
    assert base_reference(loaded(), "upstream") == (BASE_IMAGE, "bookworm")


@pytest.mark.parametrize("image", ["debian:bookworm", "debian@sha256:12", "", "a b@" + DIGEST])
def test_a_base_image_without_digest_is_refused(image: str) -> None:
    with pytest.raises(DefinitionError, match="neither 'packages' nor"):
        base_reference(loaded(base={"image": image}), "upstream")


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        (loaded(base={"release": "bookwurm"}), "'bookwurm'; did you mean 'bookworm'"),
        (loaded(base={"distribution": "ubuntu", "release": "jamy"}), "did you mean 'jammy'"),
        (loaded(base={"architectures": ["aarch64"]}), "does not hold 'x86_64'"),
        (loaded(vendor_repositories=["graphana"]), "did you mean 'grafana'"),
        (loaded(kolla={"conf": {"DEFAULT": {"maintaner": "x"}}}), "did you mean 'maintainer'"),
        (loaded(kolla={"conf": {"DEFAULT": {"retries": 3}}}), "is set by Airlock"),
        (loaded(kolla={"conf": {"DEFAULT": {"tarballs_base": "http://mirror.example.org"}}}), "is an address"),
        (loaded(kolla={"conf": {"DEFAULT": {"apt_preferences": "x"}}}), "names a file"),
        (loaded(kolla={"conf": {"keystone-bas": {"type": "url"}}}), "did you mean 'keystone-base'"),
        (loaded(kolla={"conf": {"keystone-base": {"lokation": "x"}}}), "did you mean 'location'"),
        (loaded(kolla={"conf": {"keystone-base-plugin-x": {"lokation": "x"}}}), "did you mean 'location'"),
        (loaded(kolla={"conf": {"keystone-base": {"type": "local"}}}), "is not carried"),
        (loaded(kolla={"conf": {"DEFAULT": {"maintainer": "a\n[keystone]"}}}), "a value is one line"),
    ],
)
def test_what_kolla_does_not_know_is_refused_with_the_nearest_name(
    tmp_path: Path, description: Description, definition: LoadedDefinition, said: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        write_knobs(definition, description, "x86_64", "upstream", tmp_path / "w")
    assert said in caught.value.message


def test_a_base_that_kolla_does_not_have_is_refused(description: Description) -> None:
    trimmed = msgspec.structs.replace(description, bases=["ubuntu"])
    with pytest.raises(DefinitionError, match="has no base 'debian'"):
        check_names(loaded(), trimmed, "x86_64")


REPOS = {
    "grafana": {"url": "http://mirror.example.org/g", "suite": "stable", "component": "main", "gpg_key": "grafana.asc"},
    "proxysql": {"url": "http://mirror.example.org/p/", "suite": "./", "component": "", "gpg_key": "proxysql.asc"},
    "rabbitmq": {"url": "http://mirror.example.org/r", "suite": "x", "component": "main", "gpg_key": "rabbitmq.gpg"},
}
KEYS = {
    "base_apt_keys": [{"name": "rabbitmq", "keyid": "AB" * 8}, {"name": "haproxy", "keyid": "CD" * 20}],
    "base_remote_apt_keys": [
        {"name": "grafana", "url": "http://mirror.example.org/key"},
        {"name": "mariadb", "url": "http://mirror.example.org/m.gpg", "type": "gpg"},
    ],
}


@pytest.fixture
def vendors(description: Description) -> Description:
    return msgspec.structs.replace(
        description,
        repositories={"debian": sorted(REPOS)},
        repos={"repos.yaml": {"debian": REPOS, "debian-aarch64": {"rabbitmq": REPOS["rabbitmq"] | {"arch": "amd64"}}}},
        keys=KEYS,
    )


def test_only_the_kept_vendor_repositories_are_enabled_and_only_their_keys_fetched(
    tmp_path: Path, vendors: Description
) -> None:
    definition = loaded(vendor_repositories=["grafana"])
    write_knobs(definition, vendors, "x86_64", "upstream", tmp_path / "w")
    assert json.loads((tmp_path / "w/repos.yaml").read_text()) == {"debian": {"grafana": REPOS["grafana"]}}
    text = (tmp_path / "w/overrides/vendor-keys.j2").read_text()
    assert "base_apt_keys_override = []" in text
    assert json.dumps(KEYS["base_remote_apt_keys"][:1]) in text
    assert "mariadb" not in text


def test_in_the_room_they_lead_to_the_mirror_and_want_no_signature(tmp_path: Path, vendors: Description) -> None:
    definition = loaded(vendor_repositories=["grafana", "proxysql"])
    write_knobs(definition, vendors, "x86_64", "sealed", tmp_path / "w", {})
    enabled = json.loads((tmp_path / "w/repos.yaml").read_text())["debian"]
    assert enabled["grafana"]["url"] == "http://mirror.airlock.internal/apt/grafana"
    assert (enabled["grafana"]["suite"], enabled["proxysql"]["suite"]) == ("stable", "/")
    # As Kolla's handle_repos writes it.
    told = enabled["grafana"]["component"].replace("/etc/apt/sources.list.d/grafana.sources", str(tmp_path / "x"))
    run(["sh", "-c", f"echo 'Components: {told}' >>{tmp_path}/x"], check=True)
    assert (tmp_path / "x").read_text().endswith("Components: main\nTrusted: yes\n")


def test_a_repository_has_what_kolla_has_for_its_architecture(vendors: Description) -> None:
    def kept(arch: str) -> dict[str, Any]:
        return kept_repositories(vendors, "debian", "bookworm", arch, ["grafana", "rabbitmq"])

    assert set(kept("x86_64")) == {"grafana", "rabbitmq"}
    assert kept("aarch64") == {"rabbitmq": REPOS["rabbitmq"] | {"arch": "amd64"}}


def test_extrepo_is_read_as_it_is_where_its_repository_is_kept_and_never_runs_in_the_room(
    tmp_path: Path, description: Description
) -> None:
    definition = loaded(vendor_repositories=["openstack_caracal"])
    knobs = write_knobs(definition, description, "x86_64", "upstream", tmp_path / "w")
    assert "instead-of-extrepo.j2" not in [path.name for path in knobs.overrides]
    assert not (tmp_path / "w/overlay/base/airlock-extrepo").exists()
    sha256 = "ab" * 32
    places = {"openstack_caracal": (f"{MIRROR}/pool/ab/{sha256}/a%2B.asc", f"{MIRROR}/pool/ab/{sha256}/b.sources")}
    knobs = write_knobs(definition, description, "x86_64", "sealed", tmp_path / "v", {}, places)
    assert "instead-of-extrepo.j2" in [path.name for path in knobs.overrides]
    program = tmp_path / "v/overlay/base/airlock-extrepo"
    assert program.stat().st_mode & 0o111
    case = f'"enable openstack_caracal") enable openstack_caracal {" ".join(places["openstack_caracal"])} ;;'
    assert case in program.read_text().splitlines()
    # Without an answer in the lock it is the one that does nothing: the rendering is another one than was locked.
    write_knobs(definition, description, "x86_64", "sealed", tmp_path / "u", {})
    assert (tmp_path / "u/overlay/base/airlock-extrepo").read_bytes() == stand_in({})
