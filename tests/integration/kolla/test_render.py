"""Rendering with real Kolla."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from airlock.core.errors import DefinitionError, ToolError
from airlock.definition.model import LoadedDefinition
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.overrides import SealedSource
from airlock.kolla.render import RenderedTree, render, unsealed_sources

Define = Callable[..., LoadedDefinition]
SOURCES = {
    name: SealedSource(f"{name}.tar.gz", "ab" * 32)
    for name in ("openstack-base", "openstack-base-plugin-pycadf", "keystone-base")
}


def digests(tree: RenderedTree) -> dict[str, tuple[str, str, str]]:
    return {image.name: (image.dockerfile_digest, image.context_digest, image.sealed_digest) for image in tree.images}


def test_upstream_has_the_wanted_images_parents_first_and_kollas_addresses(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    tree = render(kolla, define(images='["keystone-ssh", "keystone"]'), "x86_64", "upstream", tmp_path / "w")
    assert [image.name for image in tree.images] == [
        "base", "openstack-base", "keystone-base", "keystone", "keystone-ssh"
    ]  # fmt: skip
    assert [image.parent for image in tree.images] == [
        "", "base", "openstack-base", "keystone-base", "keystone-base"
    ]  # fmt: skip
    for image in tree.images[1:]:
        parent = tree.by_name[image.parent]
        assert image.dockerfile.startswith(f"FROM {parent.reference}\n".encode())
    assert {path.parent for path in tree.root.rglob("Dockerfile")} == {image.folder for image in tree.images}
    assert not list(tree.root.rglob("*.j2"))
    wants = {source.section: source for image in tree.images for source in image.sources}
    assert set(wants) == set(SOURCES)
    assert all(source.location.startswith(tree.upstreams["opendev"] + "/") for source in wants.values())
    assert wants["openstack-base-plugin-pycadf"].role == "plugin"
    assert set(tree.upstreams) == {"opendev", "debian", "debian-security"}
    assert tree.upstreams["debian"].encode() in tree.apt["sources.list"]
    assert b"bookworm-backports" in tree.apt["preferences"]
    assert (tree.kolla_version, tree.python_version) == ("18.8.0", "3.11")


def test_vendor_repositories_left_out_leave_no_key_and_no_extrepo(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    base = render(kolla, define(), "x86_64", "upstream", tmp_path / "w").by_name["base"]
    text = base.dockerfile.decode()
    assert "recv-keys" not in text
    assert "apt-keys" not in text
    assert text.index("COPY airlock-extrepo /usr/local/bin/extrepo") < text.index("extrepo enable openstack_caracal")
    assert text.index("extrepo enable") < text.index("RUN rm -f /usr/local/bin/extrepo")
    program = (base.folder / "airlock-extrepo").read_text().splitlines()
    assert [line for line in program if not line.startswith("#")] == ["rm -rf /var/lib/apt/lists/*"]
    toolbox = render(kolla, define(images='["kolla-toolbox"]', folder="d2"), "x86_64", "upstream", tmp_path / "x")
    assert b"sources.list.d" not in toolbox.by_name["kolla-toolbox"].dockerfile


def test_sealed_names_no_address_but_the_mirrors(kolla: KollaEnvironment, define: Define, tmp_path: Path) -> None:
    tree = render(kolla, define(), "x86_64", "sealed", tmp_path / "w", SOURCES)
    assert unsealed_sources(tree) == []
    for image in tree.images:
        commands = "\n".join(
            line for line in image.dockerfile.decode().splitlines() if not line.startswith(("#", "LABEL"))
        )
        assert set(re.findall(r"https?://([^/\s\"']+)", commands)) <= {"mirror.airlock.internal"}
    base = tree.by_name["base"].dockerfile.decode()
    assert base.startswith("FROM localhost/airlock/base:bookworm\n")
    assert base.index("COPY sources.list.debian /etc/apt/sources.list") < base.index("apt-get --error-on=any update")
    assert b"[trusted=yes] http://mirror.airlock.internal/apt/debian-security" in tree.apt["sources.list"]
    assert tree.upstreams == {}


def test_a_source_that_the_lock_does_not_name_is_found(kolla: KollaEnvironment, define: Define, tmp_path: Path) -> None:
    fewer = {name: source for name, source in SOURCES.items() if name != "keystone-base"}
    tree = render(kolla, define(), "x86_64", "sealed", tmp_path / "w", fewer)
    assert [(image, source.section) for image, source in unsealed_sources(tree)] == [("keystone-base", "keystone-base")]


@pytest.mark.parametrize("mode", ["upstream", "sealed"])
def test_another_place_day_umask_and_user_give_the_same_digests(
    kolla: KollaEnvironment, define: Define, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    loaded = define()
    one = render(kolla, loaded, "x86_64", mode, tmp_path / "one", SOURCES)  # type: ignore[arg-type]
    monkeypatch.setenv("http_proxy", "http://proxy.example.org:3128")
    monkeypatch.setenv("OS_DEFAULT__MAINTAINER", "someone else")
    before = os.umask(0o077)
    try:
        other = render(kolla, loaded, "x86_64", mode, tmp_path / "a much longer place/two", SOURCES)  # type: ignore[arg-type]
    finally:
        os.umask(before)
    assert digests(one) == digests(other)
    for image in other.images:
        assert b"build-date" not in image.dockerfile
        assert str(tmp_path).encode() not in b"".join(
            path.read_bytes() for path in image.folder.rglob("*") if path.is_file()
        )
        assert {path.stat().st_mode & 0o777 for path in image.folder.rglob("*")} <= {0o644, 0o755}


def test_the_day_is_gone_even_from_an_override_that_asks_for_it(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    mine = '{% extends parent_template %}\n{% block labels %}\nLABEL built="{{ build_date }}."\n{% endblock %}\n'
    tree = render(kolla, define(overrides={"mine.j2": mine}), "x86_64", "upstream", tmp_path / "w")
    assert all(b'LABEL built="."' in image.dockerfile for image in tree.images)


def test_an_override_of_a_block_that_is_also_ours_is_kept_beside_it(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    one = (
        "{% extends parent_template %}\n{% set keystone_base_packages_append = ['htop'] %}\n"
        "{%- block base_header -%}RUN echo one{%- endblock base_header -%}\n"
        "{% block base_pip_conf %}{% raw %}ENV A={{ x }}{% endraw %}{{ super() }}{% endblock %}"
    )
    two = "{% extends parent_template %}\n{% block base_header %}\nRUN echo two\n{% endblock %}\n"
    loaded = define(overrides={"one.j2": one, "two.j2": two})
    tree = render(kolla, loaded, "x86_64", "sealed", tmp_path / "w", SOURCES)
    base = tree.by_name["base"].dockerfile.decode()
    order = ["COPY sources.list.debian", "RUN echo one\n", "RUN echo two\n", "ENV A={{ x }}", "# ENV PIP_INDEX_URL=",
             "ENV PIP_INDEX_URL=http://mirror.airlock.internal"]  # fmt: skip
    places = [base.index("\n" + line if line.startswith(("RUN", "ENV P")) else line) for line in order]
    assert places == sorted(places)
    assert " htop " in tree.by_name["keystone-base"].dockerfile.decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% extends parent_template %}\n\n{% block labels %}\n", "mine.j2, line 3"),
        ("{% extends parent_template %}\n{% frobnicate %}\n", "mine.j2, line 2"),
        ("{% block x %}{% block base_header %}a{% endblock %}{% endblock %}", "block base_header stands inside"),
        ("{% block base_header %}{{ 1 / 0 }}{{ nothing.at_all }}{% endblock %}", "do not render"),
    ],
)
def test_an_override_that_is_wrong_is_named(
    kolla: KollaEnvironment, define: Define, tmp_path: Path, text: str, said: str
) -> None:
    loaded = define(overrides={"mine.j2": text})
    with pytest.raises(DefinitionError) as caught:
        render(kolla, loaded, "x86_64", "sealed", tmp_path / "w", SOURCES)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("images", "arch", "said"),
    [
        ('["keystoen"]', "x86_64", "has no image 'keystoen'; did you mean 'keystone'?"),
        ('["keystone", "nova-"]', "x86_64", "has no image 'nova-'"),
        ('["prometheus-mtail"]', "aarch64", "prometheus-mtail cannot be built on debian for aarch64"),
        ('["keystone"]', "aarch65", "has no architecture 'aarch65'; did you mean 'aarch64'?"),
    ],
)
def test_images_that_kolla_does_not_have_or_cannot_build_are_refused(
    kolla: KollaEnvironment, define: Define, tmp_path: Path, images: str, arch: str, said: str
) -> None:
    base = 'distribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64", "aarch64"]'
    with pytest.raises(DefinitionError) as caught:
        render(kolla, define(images=images, base=base), arch, "upstream", tmp_path / "w")
    assert said in caught.value.message


def test_all_images_are_those_that_kolla_can_build_here(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    base = 'distribution = "debian"\nrelease = "bookworm"\narchitectures = ["aarch64"]'
    loaded = define(images='"all"', base=base, top='leave_out = {fluentd = "no gems here"}')
    tree = render(kolla, loaded, "aarch64", "upstream", tmp_path / "w")
    assert len({image.name for image in tree.images} | tree.left_out.keys()) == 205  # of 18.8.0, counted by hand
    assert tree.left_out["fluentd"] == "no gems here"
    assert tree.left_out["prometheus-mtail"] == "Kolla lists it as unbuildable on aarch64"
    assert "ancestor bifrost-base" in tree.left_out["bifrost-deploy"]
    assert len(tree.left_out) == 5


def test_a_profile_means_the_images_that_kolla_build_would_take(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    own = '[kolla.conf.profiles]\nsmall = ["^memcached$", "^keystone-f"]'
    tree = render(
        kolla, define(images="[]", top='profile = ["small"]', kolla=own), "x86_64", "upstream", tmp_path / "w"
    )
    leaves = {image.name for image in tree.images} - {image.parent for image in tree.images}
    assert leaves == {"memcached", "keystone-fernet"}
    tree = render(
        kolla, define(images="[]", top='profile = ["main"]', folder="g"), "x86_64", "upstream", tmp_path / "g"
    )
    assert {"keystone-fernet", "nova-compute", "horizon", "iscsid"} <= {image.name for image in tree.images}
    with pytest.raises(DefinitionError, match="has no profile 'mian'; did you mean 'main'"):
        render(kolla, define(images="[]", top='profile = ["mian"]', folder="h"), "x86_64", "upstream", tmp_path / "h")


def test_vendor_repositories_are_told_even_where_they_are_left_out(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    loaded = define(images='["mariadb-server", "rabbitmq", "nova-compute"]')
    tree = render(kolla, loaded, "x86_64", "upstream", tmp_path / "w")
    asked = {image.name: image.repositories for image in tree.images if image.repositories}
    assert asked == {  # ceph, epel, openvswitch and crb are of other bases
        "mariadb-base": ("mariadb",),
        "mariadb-server": ("mariadb",),
        "rabbitmq": ("erlang-26", "erlang-27", "rabbitmq"),
    }
    assert all(b">/etc/apt/sources.list.d" not in image.dockerfile for image in tree.images)


def test_a_check_of_an_image_that_kolla_does_not_have_is_refused_not_left_out(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    base = 'distribution = "debian"\nrelease = "bookworm"\narchitectures = ["x86_64"]'
    loaded = define(images='["base"]', base=base + '\n[checks]\nkeystoen = ["keystone-manage", "--version"]')
    with pytest.raises(DefinitionError, match="has no image 'keystoen'; did you mean 'keystone'"):
        render(kolla, loaded, "x86_64", "upstream", tmp_path / "w")


def test_kolla_options_and_the_other_architecture_reach_the_dockerfiles(
    kolla: KollaEnvironment, define: Define, tmp_path: Path
) -> None:
    loaded = define(
        images='["prometheus-node-exporter"]',
        base='distribution = "debian"\nrelease = "bookworm"\narchitectures = ["aarch64"]',
        kolla='[kolla.conf.DEFAULT]\nmaintainer = "Example Operations"\nuse_dumb_init = false',
    )
    tree = render(kolla, loaded, "aarch64", "upstream", tmp_path / "w")
    base = tree.by_name["base"].dockerfile.decode()
    assert 'maintainer="Example Operations"' in base
    assert "KOLLA_BASE_ARCH=aarch64" in base
    assert "ENTRYPOINT" not in base
    (source,) = tree.by_name["prometheus-node-exporter"].sources
    assert "arm64" in source.location
    assert source.sha256["arm64"]


def test_ubuntu_renders_with_its_own_list(kolla: KollaEnvironment, define: Define, tmp_path: Path) -> None:
    image = "registry.example.org/ubuntu:jammy@sha256:" + "ab" * 32
    base = f'distribution = "ubuntu"\nrelease = "jammy"\narchitectures = ["x86_64"]\nimage = "{image}"'
    tree = render(kolla, define(base=base), "x86_64", "upstream", tmp_path / "w")
    text = tree.by_name["base"].dockerfile.decode()
    assert text.startswith(f"FROM {image}\n")
    assert "COPY sources.list.ubuntu.jammy /etc/apt/sources.list" in text
    assert "airlock-extrepo" not in text
    assert b"jammy" in tree.apt["sources.list"]
    assert tree.python_version == "3.10"


@pytest.mark.parametrize("mode", ["upstream", "sealed"])
def test_another_kolla_renders_as_well(
    other_kolla: KollaEnvironment, define: Define, tmp_path: Path, mode: str
) -> None:
    loaded = define(openstack="2024.2")
    tree = render(other_kolla, loaded, "x86_64", mode, tmp_path / "w", SOURCES)  # type: ignore[arg-type]
    assert tree.kolla_version == other_kolla.description.version == "19.8.0"
    assert [image.name for image in tree.images] == ["base", "openstack-base", "keystone-base", "keystone"]
    text = tree.by_name["base"].dockerfile.decode()
    assert "build-date" not in text
    assert "recv-keys" not in text
    assert 'kolla_version="19.8.0"' in text
    if mode == "sealed":
        assert unsealed_sources(tree) == []
        assert text.index("COPY sources.list.debian") < text.index("apt-get --error-on=any update")


def test_what_a_former_rendering_left_does_not_count(kolla: KollaEnvironment, define: Define, tmp_path: Path) -> None:
    loaded = define()
    before = digests(render(kolla, loaded, "x86_64", "upstream", tmp_path / "w"))
    (tmp_path / "w/docker/base/stray").write_text("x")
    assert digests(render(kolla, loaded, "x86_64", "upstream", tmp_path / "w")) == before


def test_an_environment_without_kolla_is_said(define: Define, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="no Kolla environment"):
        render(KollaEnvironment(tmp_path / "bin/python"), define(), "x86_64", "upstream", tmp_path / "w")
    with pytest.raises(ToolError, match="does not work"):
        render(KollaEnvironment(Path("/usr/bin/python3")), define(folder="e"), "x86_64", "upstream", tmp_path / "w")
