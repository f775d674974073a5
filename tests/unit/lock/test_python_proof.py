from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.kolla.reading import ImageState, load_rules, read_image
from airlock.kolla.reading.model import PipInstall
from airlock.lock.apt_resolver import AptResult
from airlock.lock.apt_state import AptState, Installed
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, Lock, make_lock
from airlock.lock.python_proof import prove_python
from airlock.lock.python_requires import read_requirements, requirement_lines, setuptools_requirements
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
    """An image that installs into an environment what ``words`` say; ``wheels`` are locked as the answer."""

    def __init__(self, pool: Pool, words: str, *wheels: Artifact, python: dict[str, str] | None = None) -> None:
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
        self.gathered = Gathered(tree, {"tool": reading}, (), definition=None)
        stanza = "Package: python3.11-minimal\nVersion: 3.11.2-6\nArchitecture: amd64\n"
        state = AptState({"python3.11-minimal": Installed("", stanza)}, python=python or {})
        self.plans = {"tool": AptResult([], [], {}, state)}
        answer = tuple(sorted(one.id for one in wheels))
        self.lock: Lock = make_lock(
            release="r",
            definition="0" * 64,
            kolla={},
            witness="0" * 64,
            requires={},
            images=[],
            demands=[Demand("x86_64", "tool", line, "python", spec, answer)],
            artifacts=wheels,
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
        ({"README": ""}, ()),
    ],
)
def test_of_an_sdist_counts_what_is_static(tmp_path, files, expected):
    assert read_requirements(*sdist(tmp_path, files)) == ("x", expected)


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
