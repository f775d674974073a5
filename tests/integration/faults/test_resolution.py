"""`airlock lock` on what cannot be resolved or claimed: image, Dockerfile line, the solver's own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.integration.faults.airlock_runs import airlock, done, refused
from tests.integration.faults.conftest import Define
from tests.integration.faults.upstreams import Upstreams

UNCLASSIFIED, RESOLUTION = 4, 5
HEAD = "{% extends parent_template %}\n"
# openstack-base with nothing of Debian's beyond base, and with the pip packages that are asked for (NAMES).
PYTHON = (
    HEAD
    + "{% set openstack_base_packages_override = ['lsof'] %}\n{% set openstack_base_pip_packages_override = NAMES %}\n"
)


def nothing_done(factory: Path, definition: Path) -> None:
    assert not (definition / "airlock.lock").exists()
    assert not (factory / "ledger.jsonl").exists()
    assert not (factory / "indexes").exists()
    assert not list((factory / "pool").rglob("*.part"))


def line_of(message: str, image: str) -> int:
    found = re.search(rf"image {image} \(x86_64\), line (\d+)", message)
    assert found, message
    return int(found[1])


APT = {
    "unknown": ("no-such-package", ["Unable to locate package no-such-package", "nearest names"]),
    "near": ("lsoff", ["Unable to locate package lsoff", "nearest names: lsof"]),
    "conflict": ("left', 'right", ["left : Conflicts: right"]),
    "unmet": ("needy", ["needy : Depends: nowhere-to-be-had (>= 7)"]),
}


@pytest.mark.parametrize(
    "case", ["near", "conflict", *(pytest.param(name, marks=pytest.mark.full) for name in ("unknown", "unmet"))]
)
def test_a_package_that_cannot_be_had_is_told_with_image_line_and_apts_words(
    factory: Path, define: Define, case: str
) -> None:
    names, words = APT[case]
    if case == "unknown":
        words = words[:1]
    text = HEAD + f"{{% set base_apt_packages_append = ['{names}'] %}}\n"
    folder = define(overrides={"more.j2": text})
    message = refused(airlock("lock", "--factory", factory, folder), RESOLUTION, "apt said:", *words)
    assert line_of(message, "base") > 100
    nothing_done(factory, folder)


PIP = {
    "unknown": (["no-such-project-of-anyone"], ["no-such-project-of-anyone", "not found"]),
    "contradiction": (["Jinja2==2.10"], ["jinja2==2.10", "unsatisfiable"]),
}


@pytest.mark.parametrize("case", PIP)
def test_a_requirement_that_cannot_be_met_is_told_with_image_line_and_uvs_words(
    factory: Path, define: Define, case: str
) -> None:
    names, words = PIP[case]
    folder = define(images='["openstack-base"]', overrides={"python.j2": PYTHON.replace("NAMES", str(names))})
    message = refused(airlock("lock", "--factory", factory, folder), RESOLUTION, *words)
    assert line_of(message, "openstack-base") > 1
    nothing_done(factory, folder)


@pytest.mark.full
def test_a_pin_of_the_definition_that_contradicts_the_constraints_is_told_alike(factory: Path, define: Define) -> None:
    override = {"python.j2": PYTHON.replace("NAMES", str(["Jinja2"]))}
    folder = define(images='["openstack-base"]', overrides=override, tables="[python]\npins = ['jinja2<3']")
    message = refused(airlock("lock", "--factory", factory, folder), RESOLUTION, "jinja2<3", "unsatisfiable")
    assert line_of(message, "openstack-base") > 1
    nothing_done(factory, folder)


def test_every_command_that_nothing_claims_is_named_and_mended_the_lock_is_made(
    factory: Path, define: Define, upstreams: Upstreams
) -> None:
    """wget, nc, a language's own network call, ADD from elsewhere: all in one message; without them, all is well."""
    footer = (
        "{% block base_footer %}\nRUN wget http://mirror.example.org/x\nRUN nc mirror.example.org 80\n"
        "RUN true && python3 -c 'import urllib.request'\nADD http://mirror.example.org/y /y\n{% endblock %}\n"
    )
    folder = define(overrides={"footer.j2": HEAD + footer})
    result = airlock("lock", "--factory", factory, folder)
    message = refused(result, UNCLASSIFIED, "wget", "nc", "python3 -c", "http://mirror.example.org/y", "override")
    lines = {int(found) for found in re.findall(r"base[^\n]*line (\d+)", message)}
    assert len(lines) == 4, message
    assert max(lines) - min(lines) == 3
    nothing_done(factory, folder)
    assert not [path for path in upstreams.asked if path.startswith("/debian")], "nothing was resolved"

    (folder / "footer.j2").write_text(HEAD + "{% block base_footer %}RUN mkdir /srv/mended{% endblock %}\n")
    done(airlock("lock", "--factory", factory, folder))
    assert (folder / "airlock.lock").exists()
    check = airlock("lock", "--check", "--factory", factory, folder)
    assert "the same bytes" in done(check).stdout
