from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import FormatError
from airlock.kolla.reading import ImageState, load_rules, read_image
from airlock.kolla.reading.model import PipInstall
from airlock.lock.apt_resolver import AptResult
from airlock.lock.apt_state import AptState, Installed
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, Lock, make_lock
from airlock.lock.python_proof import prove_python
from airlock.lock.python_requires import read_project, requirement_lines, setuptools_requirements
from airlock.lock.tools_wheel import pack
from airlock.store.pool import Pool

PIP = "RUN python3 -m venv --system-site-packages /opt/ansible && /opt/ansible/bin/pip install {words}"


def wheel(pool: Pool, name: str, version: str, *requires: str) -> Artifact:
    info = f"{name}-{version}.dist-info"
    text = f"Metadata-Version: 2.0\nName: {name}\nVersion: {version}\n"
    text += "".join(f"Requires-Dist: {one}\n" for one in requires)
    data = pack({f"{info}/METADATA": text.encode(), f"{info}/WHEEL": b"Wheel-Version: 1.0\n"}, info, {})
    file = f"{name}-{version}-py3-none-any.whl"
    sha256 = pool.add_bytes(data)
    return Artifact(f"wheel/{file}", "wheel", name, version, "any", file, sha256, len(data), "pypi", file, "first-seen")


class World:
    """An image that installs into an environment what ``words`` say; ``wheels`` are locked as the answer.

    Args:
        built: an sdist's file name → what is locked for building it.
    """

    def __init__(
        self, pool: Pool, words: str, *wheels: Artifact, python: dict[str, str] | None = None,
        built: dict[str, tuple[Artifact, ...]] | None = None,
    ) -> None:  # fmt: skip
        reading = read_image(
            f"FROM base\n{PIP.format(words=words)}",
            image="tool",
            context_files={}.get,
            inherited=ImageState(),
            rules=load_rules(),
        )
        pip = next(one.detail for one in reading.commands if isinstance(one.detail, PipInstall))
        spec, line = " ".join(pip.words), pip.line
        tree = SimpleNamespace(
            arch="x86_64", python_version="3.11", images=(SimpleNamespace(name="tool", parent="", sources=()),)
        )
        self.pool = pool
        base = SimpleNamespace(base=SimpleNamespace(release="bookworm"))
        self.gathered = Gathered(tree, {"tool": reading}, (), definition=base)
        stanza = "Package: python3.11-minimal\nVersion: 3.11.2-6\nArchitecture: amd64\n"
        state = AptState({"python3.11-minimal": Installed("", stanza)}, python=python or {})
        self.plans = {"tool": AptResult([], [], {}, state)}
        answer, built = tuple(sorted(one.id for one in wheels)), built or {}
        self.lock: Lock = make_lock(
            release="r",
            definition="0" * 64,
            kolla={},
            witness="0" * 64,
            requires={},
            images=[],
            demands=[
                Demand("x86_64", "tool", line, "python", spec, answer),
                *(
                    Demand("x86_64", "tool", line, "python-build", file, tuple(sorted(one.id for one in files)))
                    for file, files in built.items()
                ),
            ],
            artifacts=[*wheels, *(one for files in built.values() for one in files)],
        )

    def gaps(self) -> list[str]:
        return [str(gap) for gap in prove_python(self.lock, self.gathered, self.plans, self.pool)]

    def without(self, ident: str) -> list[str]:
        demands = tuple(
            msgspec.structs.replace(one, artifacts=tuple(a for a in one.artifacts if a != ident))
            for one in self.lock.demands
        )
        lock = msgspec.structs.replace(self.lock, demands=demands)
        return [str(gap) for gap in prove_python(lock, self.gathered, self.plans, self.pool)]


@pytest.fixture
def pool(tmp_path) -> Pool:
    return Pool(tmp_path / "pool")


def chain(pool: Pool) -> tuple[Artifact, ...]:
    return (
        wheel(pool, "top", "1.0", "middle[fast]>=2", 'windows; sys_platform == "win32"', 'old; python_version < "3"'),
        wheel(pool, "middle", "2.1", "leaf<3", 'speed; extra == "fast"', 'never; extra == "slow"'),
        wheel(pool, "leaf", "2.9"),
        wheel(pool, "speed", "0.1"),
    )


def test_a_whole_closure_has_no_gap(pool):
    assert World(pool, "top", *chain(pool)).gaps() == []


@pytest.mark.parametrize("number", range(4))
def test_whatever_is_taken_out_is_named_with_who_requires_it(pool, number):
    files = chain(pool)
    gaps = World(pool, "top", *files).without(files[number].id)
    assert len(gaps) == 1
    assert files[number].name in gaps[0]
    assert "image tool (x86_64), line 2" in gaps[0]


def test_a_version_that_does_not_fit_is_named(pool):
    top, middle, _, speed = chain(pool)
    (gap,) = World(pool, "top", top, middle, wheel(pool, "leaf", "3.0"), speed).gaps()
    assert "middle 2.1 requires `leaf<3`; locked is 3.0" in gap


def test_what_apt_has_meets_a_requirement_where_pip_has_nothing_of_that_name(pool):
    top, middle, _, speed = chain(pool)
    assert World(pool, "top", top, middle, speed, python={"leaf": "2.5"}).gaps() == []
    (gap,) = World(pool, "top", top, middle, speed, python={"leaf": "3.1"}).gaps()
    assert "locked is 3.1" in gap


def test_what_a_command_names_is_held_against_the_lock(pool):
    (gap,) = World(pool, "top==2.0", *chain(pool)).gaps()
    assert "`top==2.0` is asked for; locked is 1.0" in gap


def test_a_file_that_is_not_in_the_pool_is_no_traceback(pool):
    world = World(pool, "top", *chain(pool))
    pool.path(world.lock.artifacts[0].sha256).unlink()
    assert world.gaps() == []  # its absence is the proof of presence's to name


# Files that are not what the lock says ------------------------------------------------------------------------------


def locked_as(artifact: Artifact, file: str = "", **changes: str) -> Artifact:
    file = file or artifact.file
    return msgspec.structs.replace(artifact, id=f"{artifact.kind}/{file}", file=file, **changes)


def made(pool: Pool, file: str, data: bytes, name: str = "x") -> Artifact:
    kind = "wheel" if file.endswith(".whl") else "sdist"
    sha256 = pool.add_bytes(data)
    return Artifact(f"{kind}/{file}", kind, name, "1.0", "any", file, sha256, len(data), "pypi", file, "first-seen")


def test_a_wheel_that_says_that_it_is_another_is_named_and_does_not_count_as_what_it_is_called(pool):
    lying = locked_as(wheel(pool, "other", "1.0"), "x-1.0-py3-none-any.whl", name="x")
    gaps = World(pool, "x", lying).gaps()
    assert "x-1.0-py3-none-any.whl is locked as x, and says that it is other" in "\n".join(gaps)
    assert "`x` is asked for, of which nothing is locked" in "\n".join(gaps)


def test_a_wheel_of_another_version_than_it_says_is_named(pool):
    lying = locked_as(wheel(pool, "x", "2.0"), "x-1.0-py3-none-any.whl", version="1.0")
    (gap,) = World(pool, "x", lying).gaps()
    assert "x-1.0-py3-none-any.whl is locked as version 1.0, and says that it is 2.0" in gap


def test_a_file_under_another_name_or_version_than_it_is_called_is_named(pool):
    (gap,) = World(pool, "x", locked_as(wheel(pool, "x", "1.0"), "y-1.0-py3-none-any.whl")).gaps()
    assert "y-1.0-py3-none-any.whl is locked as x 1.0" in gap
    (gap,) = World(pool, "x", locked_as(wheel(pool, "x", "1.0"), "x.whl")).gaps()
    assert "x.whl is not called as a wheel" in gap


@pytest.mark.parametrize("tag", ["cp311-cp311-manylinux_2_17_aarch64", "cp39-cp39-linux_x86_64", "py3-none-win32"])
def test_a_wheel_for_another_machine_is_named(pool, tag):
    (gap,) = World(pool, "x", locked_as(wheel(pool, "x", "1.0"), f"x-1.0-{tag}.whl")).gaps()
    assert f"x-1.0-{tag}.whl is not for Python 3.11.2 on x86_64" in gap


def test_a_wheel_for_another_python_is_named(pool):
    info = "x-1.0.dist-info"
    text = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\nRequires-Python: >=3.12\n"
    data = pack({f"{info}/METADATA": text.encode(), f"{info}/WHEEL": b"Wheel-Version: 1.0\n"}, info, {})
    (gap,) = World(pool, "x", made(pool, "x-1.0-py3-none-any.whl", data)).gaps()
    assert "is for Python >=3.12; the image has 3.11.2" in gap


def broken() -> dict[str, tuple[str, bytes]]:
    """What cannot be read → (file name, bytes)."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        info = tarfile.TarInfo("x-1.0/PKG-INFO")
        info.size = 1 << 16
        archive.addfile(info, io.BytesIO(random.Random(1).randbytes(1 << 16)))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x-1.0.dist-info/METADATA", "Name: x\n" * 9999)
    spoilt = bytearray(zipped.getvalue())
    spoilt[60:90] = bytes(range(30))
    unknown = bytearray(zipped.getvalue())
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        unknown[unknown.index(signature) + place] = 77  # the way it is compressed
    without = io.BytesIO()
    with zipfile.ZipFile(without, "w") as archive:
        archive.writestr("x.py", "")
    wheel_name, sdist_name = "x-1.0-py3-none-any.whl", "x-1.0.tar.gz"
    return {
        "empty wheel": (wheel_name, b""),
        "empty sdist": (sdist_name, b""),
        "a page": (sdist_name, b"<html>not found</html>"),
        "cut xz": (sdist_name, packed.getvalue()[:-2000]),
        "cut zip": (wheel_name, zipped.getvalue()[:-30]),
        "spoilt zip": (wheel_name, bytes(spoilt)),
        "unknown compression": (wheel_name, bytes(unknown)),
        "a wheel without metadata": (wheel_name, without.getvalue()),
    }


@pytest.mark.parametrize("what", broken())
def test_a_file_that_cannot_be_read_is_a_gap_that_names_it(pool, what):
    file, data = broken()[what]
    gaps = World(pool, "x", made(pool, file, data)).gaps()
    assert any(file in gap for gap in gaps)


def test_an_archive_that_unpacks_to_more_than_any_should_is_refused_without_unpacking_it_all(pool, monkeypatch):
    monkeypatch.setattr("airlock.lock.archives.MAX_UNPACKED", 1 << 20)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("a", "b", "PKG-INFO"):
            info = tarfile.TarInfo(f"x-1.0/{name}")
            info.size = 1 << 20
            archive.addfile(info, io.BytesIO(bytes(1 << 20)))
    gaps = World(pool, "x", made(pool, "x-1.0.tar.gz", packed.getvalue())).gaps()
    assert any("holds more than" in gap for gap in gaps)


def test_links_and_paths_that_lead_out_of_an_sdist_are_not_followed(pool):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, target in (("x-1.0/PKG-INFO", "/etc/passwd"), ("x-1.0/pyproject.toml", "../../../etc/passwd")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        info = tarfile.TarInfo("/etc/PKG-INFO")
        info.size = 8
        archive.addfile(info, io.BytesIO(b"Name: y\n"))
    found = made(pool, "x-1.0.tar.gz", packed.getvalue())
    with pytest.raises(FormatError, match="no PKG-INFO"):
        read_project(pool.path(found.sha256), found)
    branch = read_project(pool.path(found.sha256), msgspec.structs.replace(found, kind="source"))
    assert (branch.name, branch.pyproject) == ("x", None)


def test_what_is_no_file_is_not_waited_for(pool):
    world = World(pool, "top", *chain(pool))
    place = pool.path(world.lock.artifacts[0].sha256)
    place.unlink()
    os.mkfifo(place)
    (gap,) = world.gaps()
    assert "cannot be read: it is no file" in gap


# What building takes ------------------------------------------------------------------------------------------------


def with_pyproject(pool: Pool, text: str | None) -> Artifact:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in (("PKG-INFO", "Metadata-Version: 1.0\nName: x\n"), ("pyproject.toml", text)):
            if data is not None:
                info = tarfile.TarInfo(f"x-1.0/{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data.encode()))
    return made(pool, "x-1.0.tar.gz", packed.getvalue())


BUILD = '[build-system]\nrequires = ["hatchling>=1.9", "old; python_version < \'3\'"]\n'


def test_what_building_requires_is_held_against_what_is_locked_for_that_alone(pool):
    sdist, backend = with_pyproject(pool, BUILD), wheel(pool, "hatchling", "1.25", "pathspec")
    pathspec = wheel(pool, "pathspec", "0.12")
    assert World(pool, "x", sdist, built={sdist.file: (backend, pathspec)}).gaps() == []
    (gap,) = World(pool, "x", sdist, built={sdist.file: (backend,)}, python={"pathspec": "0.12"}).gaps()
    assert "to build x-1.0.tar.gz, hatchling 1.25 requires `pathspec`, of which nothing is locked" in gap
    (gap,) = World(pool, "x", sdist, pathspec, built={sdist.file: ()}).gaps()
    assert "to build x-1.0.tar.gz, `hatchling>=1.9` is asked for, of which nothing is locked" in gap
    (gap,) = World(pool, "x", sdist, built={sdist.file: (wheel(pool, "hatchling", "1.8"),)}).gaps()
    assert "locked is 1.8" in gap


def test_what_names_nothing_is_built_with_setuptools(pool):
    sdist = with_pyproject(pool, None)
    (gap,) = World(pool, "x", sdist, built={sdist.file: ()}).gaps()
    assert "`setuptools>=40.8.0` is asked for" in gap


def test_a_pyproject_that_cannot_be_read_is_a_gap(pool):
    for text in ("[build-system", '[build-system]\nrequires = "x"\n', '[build-system]\nrequires = ["x @ file:///y"]\n'):
        sdist = with_pyproject(pool, text)
        (gap,) = World(pool, "x", sdist, built={sdist.file: ()}).gaps()
        assert "x-1.0.tar.gz" in gap


# What files say -----------------------------------------------------------------------------------------------------


OLD = {"PKG-INFO": "Metadata-Version: 1.1\nName: X\n"}


def sdist(folder, files: dict[str, str]):
    path = folder / "x-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"x-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return path, Artifact("sdist/x", "sdist", "x", "1.0", "any", path.name, "0" * 64, 1, "pypi", path.name, "declared")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"PKG-INFO": "Metadata-Version: 2.2\nName: X\nVersion: 1.0\nRequires-Dist: a\n"}, ("a",)),
        ({"PKG-INFO": "Metadata-Version: 2.2\nName: X\nDynamic: Requires-Dist\nRequires-Dist: a\n"}, ()),
        ({"PKG-INFO": "Metadata-Version: 2.1\nName: X\nRequires-Dist: a\n"}, ()),
        (OLD | {"X.egg-info/requires.txt": "b\n"}, ()),
        (
            {
                "PKG-INFO": "Metadata-Version: 1.1\nName: X\n",
                "X.egg-info/requires.txt": "b\n",
                "X.egg-info/pbr.json": "",
            },
            ("b",),
        ),
    ],
)
def test_of_an_sdist_counts_what_is_static(tmp_path, files, expected):
    found = read_project(*sdist(tmp_path, files))
    assert (found.name, found.requires) == ("x", expected)


def test_an_sdist_says_what_it_is_and_the_archive_of_a_branch_need_not(tmp_path):
    path, artifact = sdist(tmp_path, {"README": ""})
    with pytest.raises(FormatError, match=r"x-1\.0\.tar\.gz is no sdist: it has no PKG-INFO"):
        read_project(path, artifact)
    assert read_project(path, msgspec.structs.replace(artifact, kind="source")).name == "x"


def test_what_setuptools_wrote_keeps_its_conditions():
    text = 'a>=1\n\n[:python_version < "3"]\nb\n\n[ldap]\nc\n\n[test:sys_platform == "win32"]\nd[x]\n'
    assert list(setuptools_requirements(text)) == [
        "a>=1",
        'b ; (python_version < "3")',
        'c ; extra == "ldap"',
        'd[x] ; (sys_platform == "win32") and extra == "test"',
    ]


def test_a_requirements_file_is_read_without_options_and_comments():
    assert list(requirement_lines("# a\n-c x\nb>=1 # why\n\n--hash=x\nc \\\n  ==2\n")) == ["b>=1", "c   ==2"]


@given(st.text())
def test_of_any_text_no_line_is_made_up(text):
    found = [line.partition(" ;")[0] for line in setuptools_requirements(text)]
    assert all(line.strip() in text for line in found)
    assert all(not line.startswith("-") for line in requirement_lines(text))
