"""Sources: which project a section is about, which release answers it, the archive made from the constraints."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from airlock.fetch.simple import ProjectFile
from airlock.kolla.environment import SourceWant
from airlock.lock.sources_names import make_archive, newest_sdist, pinned, project_of, split_address, stated_version

BASE = "https://mirror.example.org/tarballs"


def want(location: str, **changes: object) -> SourceWant:
    values = {"section": "a-section", "role": "source", "type": "url", "location": location}
    return SourceWant(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "project"),
    [
        (want(f"{BASE}/openstack/keystone/keystone-stable-2024.1.tar.gz"), "keystone"),
        (want(f"{BASE}/openstack/neutron-vpnaas/neutron-vpnaas-master.tar.gz", role="plugin"), "neutron-vpnaas"),
        (want(f"{BASE}/openstack/pycadf/pycadf-3.1.1.tar.gz"), "pycadf"),
        (want("https://mirror.example.org/gnocchixyz/gnocchi.git", type="git"), "gnocchi"),
        (want("https://mirror.example.org/releases/v3.4.27/etcd-linux-amd64.tar.gz", section="etcd"), "etcd"),
    ],
)
def test_the_project_of_a_section(source, project):
    assert project_of(source) == project


def test_a_version_in_kollas_own_address_counts_and_a_branch_does_not():
    fixed = want(f"{BASE}/openstack/pycadf/pycadf-3.1.1.tar.gz")
    assert stated_version(fixed, "pycadf") == "3.1.1"
    branch = want(f"{BASE}/openstack/keystone/keystone-stable-2024.1.tar.gz")
    assert stated_version(branch, "keystone") == ""
    assert stated_version(want("x.git", type="git", reference="4.6.2"), "gnocchi") == "4.6.2"
    assert stated_version(want("x.git", type="git", reference="master"), "gnocchi") == ""


def test_pins_are_found_by_normalised_name():
    constraints = "# a comment===1\npycadf===3.1.1\noslo.config===9.4.0;python_version>='3.8'\n"
    assert pinned(constraints, "pycadf") == "3.1.1"
    assert pinned(constraints, "Oslo_Config") == "9.4.0"
    assert pinned(constraints, "config") == ""


def test_the_newest_release_that_fits_is_taken():
    def files(*versions: str, yanked: str = "") -> list[ProjectFile]:
        return [ProjectFile(f"demo-{one}.tar.gz", "0" * 64, 1, "", "", one == yanked, "") for one in versions]

    offered = [*files("25.0.0", "25.0.10", "25.0.9", "26.0.0", "25.1.0rc1", "25.0.11", yanked="25.0.11")]
    offered.append(ProjectFile("demo-25.0.12-py3-none-any.whl", "0" * 64, 1, "", "", False, ""))
    offered.append(ProjectFile("other-25.0.13.tar.gz", "0" * 64, 1, "", "", False, ""))
    found = newest_sdist(offered, "demo", SpecifierSet("==25.0.*"))
    assert found is not None
    assert found[0] == "25.0.10"
    assert newest_sdist(offered, "demo", SpecifierSet(">=25,<26"))[0] == "25.0.10"  # type: ignore[index]
    assert newest_sdist(offered, "demo", SpecifierSet("==25.1.0rc1"))[0] == "25.1.0rc1"  # type: ignore[index]
    assert newest_sdist(offered, "demo", SpecifierSet("==1.0")) is None


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True), st.binary(max_size=2000), max_size=4))
def test_an_archive_is_a_function_of_its_content(files):
    data = make_archive("requirements-2024.1", files)
    assert make_archive("requirements-2024.1", dict(reversed(files.items()))) == data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = archive.getmembers()
        assert members[0].isdir()
        assert {member.name.split("/")[0] for member in members} == {"requirements-2024.1"}
        assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
        held = {member.name.partition("/")[2]: archive.extractfile(member).read() for member in members[1:]}  # type: ignore[union-attr]
    assert held == files


def test_a_third_partys_address_is_an_upstream_of_its_own():
    assert split_address(f"{BASE}/a/b.tar.gz", BASE) == ("opendev", BASE, "a/b.tar.gz")
    name, address, path = split_address("https://get.example.org:8443/x/y%20z.tar.gz?a=b", BASE)
    assert (name, address, path) == ("get-example-org-8443", "https://get.example.org:8443", "x/y z.tar.gz?a=b")
