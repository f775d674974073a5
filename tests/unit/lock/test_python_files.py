"""Which file pip takes, the room's index, what an sdist says it needs."""

from __future__ import annotations

import io
import platform
import re
import tarfile
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.tags import sys_tags

from airlock.core.errors import ResolutionError
from airlock.fetch.simple import ProjectFile
from airlock.lock.model import Artifact
from airlock.lock.pypi_index import pypi_indexes
from airlock.lock.python_build import DEFAULT_BACKEND, DEFAULT_REQUIRES, read_build_system
from airlock.lock.python_compile import names_of, parse_output
from airlock.lock.python_files import Target, choose

BOOKWORM = Target("3.11.2", "x86_64", (2, 36))


def listed(name: str, *, yanked: bool = False, python: str = "") -> ProjectFile:
    return ProjectFile(name, "0" * 64, 1, python, "", yanked, f"https://mirror.example.org/{name}")


def chosen(*names: str | ProjectFile, version: str = "1.0", target: Target = BOOKWORM) -> str | None:
    files = [name if isinstance(name, ProjectFile) else listed(name) for name in names]
    found = choose(files, "demo", version, target)
    return found.filename if found else None


def test_the_tags_are_those_of_this_interpreter():
    family, version = platform.libc_ver()
    assert family == "glibc"
    major, minor = (int(part) for part in version.split("."))
    here = Target(platform.python_version(), platform.machine(), (major, minor))
    assert here.tags() == list(sys_tags())


def test_the_best_wheel_wins_and_an_sdist_only_where_no_wheel_fits():
    exact = "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    newer = "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    too_new = "demo-1.0-cp311-cp311-manylinux_2_39_x86_64.whl"
    stable = "demo-1.0-cp38-abi3-manylinux1_x86_64.whl"
    pure, sdist = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"
    others = ("demo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl", "demo-1.0-cp311-cp311-macosx_11_0_arm64.whl")
    musl, arm = "demo-1.0-cp311-cp311-musllinux_1_1_x86_64.whl", "demo-1.0-cp311-cp311-manylinux2014_aarch64.whl"
    order = [newer, exact, stable, pure, sdist]
    for start in range(len(order)):
        assert chosen(*reversed(order[start:]), too_new, *others, musl, arm) == order[start]
    assert chosen(too_new, *others, musl) is None
    assert chosen(exact, arm, target=Target("3.11.2", "aarch64", (2, 36))) == arm


def test_build_numbers_versions_and_names_are_read_as_pip_reads_them():
    assert chosen("demo-1.0-1-py3-none-any.whl", "demo-1.0-12-py3-none-any.whl", "demo-1.0-py3-none-any.whl") == (
        "demo-1.0-12-py3-none-any.whl"
    )
    assert chosen("demo-1.0.0.tar.gz", "demo-1.0.1.tar.gz") == "demo-1.0.0.tar.gz"
    assert chosen("demo-1.0.zip", "demo-1.0.tar.gz") == "demo-1.0.tar.gz"
    assert chosen("demo-1.0.tar.bz2") == "demo-1.0.tar.bz2"
    assert chosen("demo-extra-1.0.tar.gz", "demo-1.0.exe", "demo-1.0-py3.egg", "nonsense") is None


def test_yanked_files_count_only_where_no_other_is_left():
    wheel, sdist = listed("demo-1.0-py3-none-any.whl", yanked=True), listed("demo-1.0.tar.gz")
    assert chosen(wheel, sdist) == "demo-1.0.tar.gz"
    assert chosen(wheel) == "demo-1.0-py3-none-any.whl"


def test_requires_python_is_honoured():
    new = listed("demo-1.0-py3-none-any.whl", python=">=3.12")
    assert chosen(new, "demo-1.0.tar.gz") == "demo-1.0.tar.gz"
    assert chosen(listed("demo-1.0.tar.gz", python=">=3.6,")) == "demo-1.0.tar.gz"
    assert chosen(listed("demo-1.0.tar.gz", python="nonsense")) == "demo-1.0.tar.gz"


# The room's index --------------------------------------------------------------------------------------------------


def artifact(name: str, file: str, number: int) -> Artifact:
    kind = "wheel" if file.endswith(".whl") else "sdist"
    sha256 = f"{number:064x}"
    return Artifact(f"{kind}/{file}", kind, name, "1.0", "any", file, sha256, 1, "pypi", f"{name}/{file}", "first-seen")


class Links(HTMLParser):
    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(dict(attrs))


names = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,10}[A-Za-z0-9]", fullmatch=True)


@given(
    st.lists(st.tuples(names, st.sampled_from([".whl", ".tar.gz"]), st.integers(0, 1 << 200)), max_size=8), st.randoms()
)
def test_every_locked_file_has_one_link_and_the_order_given_does_not_matter(entries, random):
    files = {}
    for name, end, number in entries:
        found = artifact(name, f"{name}-1.0{end}", number)
        files[found.id] = found
    shuffled = list(files.values())
    random.shuffle(shuffled)
    pages = pypi_indexes(files.values())
    assert pypi_indexes(shuffled) == pages
    seen = {}
    for name, page in pages.items():
        for link in Links(page).found:
            if name != "pypi/simple/index.html":
                address = urljoin(f"http://mirror.airlock.internal/{name}", link["href"] or "")
                place = re.fullmatch(
                    r"http://mirror\.airlock\.internal/pool/(..)/(.{64})/([^/#]+)#sha256=(.{64})", address
                )
                assert place is not None
                assert place[2].startswith(place[1])
                assert place[2] == place[4]
                seen[place[3]] = place[2]
    assert seen == {one.file: one.sha256 for one in files.values()}


def test_the_same_page_works_from_the_stores_deeper_path():
    page = pypi_indexes([artifact("Demo.Name", "demo_name-1.0-py3-none-any.whl", 1)])
    assert set(page) == {"pypi/simple/index.html", "pypi/simple/demo-name/index.html"}
    href = Links(page["pypi/simple/demo-name/index.html"]).found[0]["href"] or ""
    deep = "http://mirror.example.org/repository/raw/bundles/b/indexes/pypi/simple/demo-name/"
    assert urljoin(deep, href).startswith("http://mirror.example.org/repository/raw/pool/00/")


def test_requires_python_is_kept_and_escaped():
    found = artifact("demo", "demo-1.0.tar.gz", 1)
    page = pypi_indexes([found], {found.id: ">=3.8"})["pypi/simple/demo/index.html"]
    assert b'data-requires-python="&gt;=3.8"' in page


# What sdists say they need ----------------------------------------------------------------------------------------


def archive(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as zipped:
            for name, data in files.items():
                zipped.writestr(f"demo-1.0/{name}", data)
        return path
    with tarfile.open(path, "w:gz") as tarred:
        for name, data in files.items():
            member = tarfile.TarInfo(f"demo-1.0/{name}")
            member.size = len(data)
            tarred.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("file", ["demo-1.0.tar.gz", "demo-1.0.zip"])
def test_build_requirements_are_read_without_unpacking(tmp_path, file):
    project = b'[build-system]\nrequires = ["cython<3", "setuptools"]\nbuild-backend = "b:x"\nbackend-path = ["_"]\n'
    found = read_build_system(
        archive(tmp_path / file, {"sub/pyproject.toml": b"", "pyproject.toml": project}), file, "w"
    )
    assert found.requires == ("cython<3", "setuptools")
    assert (found.backend, found.backend_path) == ("b:x", ("_",))
    nested = read_build_system(tmp_path / file, file, "w", "sub")
    assert (nested.requires, nested.backend) == (DEFAULT_REQUIRES, DEFAULT_BACKEND)


@pytest.mark.parametrize("files", [{"setup.py": b""}, {"pyproject.toml": b"[tool.x]\n"}])
def test_pips_defaults_hold_where_an_sdist_says_nothing(tmp_path, files):
    found = read_build_system(archive(tmp_path / "demo-1.0.tar.gz", files), "demo-1.0.tar.gz", "w")
    assert (found.requires, found.backend) == (DEFAULT_REQUIRES, DEFAULT_BACKEND)


@pytest.mark.parametrize(
    "project",
    [
        b"[build-system]\n",
        b'[build-system]\nrequires = "setuptools"\n',
        b"[build-system]\nrequires = [1]\n",
        b'[build-system]\nrequires = ["not a requirement!"]\n',
        b'[build-system]\nrequires = ["x @ http://mirror.example.org/x.whl"]\n',
        b'[build-system]\nrequires = []\nbuild-backend = ["x"]\n',
        b"build-system = 1\n",
        b"[build-system\n",
        b"\xff",
        b"#" * ((1 << 20) + 1),
    ],
)
def test_a_malformed_project_table_names_the_sdist(tmp_path, project):
    path = archive(tmp_path / "demo-1.0.tar.gz", {"pyproject.toml": project})
    with pytest.raises(ResolutionError, match=r"image x, line 3: demo-1\.0\.tar\.gz"):
        read_build_system(path, "demo-1.0.tar.gz", "image x, line 3")


@given(st.binary(max_size=300))
def test_whatever_is_no_archive_is_an_error_that_names_it(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("noise") / "noise"
    path.write_bytes(data)
    with pytest.raises(ResolutionError, match="noise-1"):
        read_build_system(path, "noise-1.tar.gz", "w")


# uv's answers -----------------------------------------------------------------------------------------------------


def test_uvs_answers_are_read():
    text = "# header\nleaf==1.0\nApp.Name==2.0  # via x\nproject[a] @ file:///sources/p.tar.gz\n--flag\n\n"
    assert parse_output(text, "w") == {"leaf": "1.0", "app-name": "2.0", "project": ""}
    with pytest.raises(ResolutionError, match="w: uv answers"):
        parse_output("what?\n", "w")
    assert names_of(["B_x>=1", "a[extra]", "b-X"]) == ("a", "b-x")
