"""Every image of real Kolla, rendered by itself as upstream has it, is classified with nothing left."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.reading import load_rules, resolve_paths
from airlock.kolla.reading.files import FileReading, read_files
from airlock.kolla.reading.image import classify_counts
from airlock.kolla.reading.model import AptCommand, PipInstall, SourceAdd, SourceRef

# Kolla's versions do not render on every base with every other; these do.
BASES = ("debian", "ubuntu", "rocky", "centos")


def render(python: Path, base: str, arch: str, work: Path) -> list[Path]:
    """All Dockerfiles of one base, by kolla-build itself."""
    (work / "kolla-build.conf").write_text(
        f"[DEFAULT]\nbase = {base}\nbase_arch = {arch}\nengine = podman\nwork_dir = {work}\n"
    )
    program = python.parent / "kolla-build"
    subprocess.run(
        [program, "--config-file", work / "kolla-build.conf", "--template-only"],
        check=True,
        capture_output=True,
        env={"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(work)},
        timeout=300,
    )
    return sorted(work.glob("docker/**/Dockerfile"))


def left_over(readings: list[FileReading]) -> list[str]:
    return [
        f"{one.reading.image}:{command.line} {' '.join(command.argv)}: {command.reason}"
        for one in readings
        for command in one.reading.unclassified
    ]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_no_command_of_any_image_is_left_unclassified(kolla_python, base, arch, tmp_path):
    paths = render(kolla_python, base, arch, tmp_path)
    assert len(paths) > 150
    readings = read_files(paths, load_rules())
    assert left_over(readings) == []
    assert all(one.parent_path for one in readings if one.reading.image != "base")


@pytest.mark.parametrize(
    ("base", "arch"),
    [(base, "x86_64") for base in BASES] + [pytest.param(base, "aarch64", marks=pytest.mark.full) for base in BASES],
)
def test_no_command_of_another_release_is_left_unclassified(other_kolla: KollaEnvironment, base, arch, tmp_path):
    paths = render(other_kolla.python, base, arch, tmp_path)
    assert len(paths) > 150
    assert left_over(read_files(paths, load_rules())) == []


@pytest.fixture(scope="module")
def debian(kolla_python, tmp_path_factory) -> dict[str, FileReading]:
    paths = render(kolla_python, "debian", "x86_64", tmp_path_factory.mktemp("debian"))
    started = time.monotonic()
    readings = read_files(paths, load_rules())
    assert time.monotonic() - started < 20
    return {one.reading.image: one for one in readings}


def details(reading: FileReading, kind):
    return [command.detail for command in reading.reading.commands if isinstance(command.detail, kind)]


def test_as_many_network_commands_are_found_as_there_are(debian):
    """The counts of Kolla 18.8.0 on Debian x86_64, found once by hand: commands / images."""
    if len(debian) != 205:
        pytest.skip("another Kolla")
    found = {
        verb: [one.reading.image for one in debian.values() for d in details(one, AptCommand) if d.verb == verb]
        for verb in ("update", "install", "upgrade", "dist-upgrade")
    }
    counts = {verb: (len(images), len(set(images))) for verb, images in found.items()}
    assert counts == {"update": (90, 86), "install": (89, 86), "upgrade": (1, 1), "dist-upgrade": (1, 1)}
    pips = [one.reading.image for one in debian.values() for _ in details(one, PipInstall)]
    assert (len(pips), len(set(pips))) == (59, 46)


def test_every_pip_line_leads_to_locked_inputs(debian):
    for one in debian.values():
        for pip in details(one, PipInstall):
            assert all(path.refs for path in pip.source_paths)
            names = {ref.archive for path in pip.source_paths for ref in path.refs if isinstance(ref, SourceRef)}
            known = {add.archive for other in debian.values() for add in details(other, SourceAdd)}
            assert names <= known


def test_keystone_is_read_as_it_is_built(debian):
    (pip,) = details(debian["keystone-base"], PipInstall)
    assert pip.words[-1] == "/keystone[ldap]"
    assert [(path.path, path.extras) for path in pip.source_paths] == [("/keystone", ("ldap",))]
    (constraint,) = pip.constraint_files
    assert constraint.ref.archive == "openstack-base-archive"
    assert [edit.expression for edit in constraint.ref.edits] == ["/^ovs===/d"]
    plugins = resolve_paths(debian["keystone"].reading.state, "/plugins/*")
    assert [ref.image for ref in plugins if isinstance(ref, SourceRef)] == ["openstack-base", "keystone"]


def test_a_rendered_tree_with_one_line_added_has_exactly_that_gap(debian):
    path = Path(debian["keystone"].path)
    text = path.read_text()
    line = f"{text}\n".count("\n") + 1
    path.write_text(text + "\nRUN frobnicate --now\n")
    try:
        (reading,) = read_files([path], load_rules())
    finally:
        path.write_text(text)
    assert [command.line for command in reading.reading.unclassified] == [line]
    assert classify_counts(reading.reading.commands)["unclassified"] == 1
