"""What Debian packages put into dist-packages."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from airlock.core.errors import FormatError, IntegrityError
from airlock.lock.apt_python import python_debs, python_dists
from airlock.lock.model import Artifact
from airlock.store.pool import Pool


def make_deb(folder: Path, name: str, files: dict[str, str]) -> Path:
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
    )
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    target = folder / f"{name}_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, target], check=True, capture_output=True)
    return target


def put(pool: Pool, path: Path, name: str) -> Artifact:
    sha256, size = pool.add_file(path)
    return Artifact(
        id=f"deb/{path.name}", kind="deb", name=name, version="1", arch="all", file=path.name, sha256=sha256, size=size,
        upstream="debian", path=f"pool/{path.name}", trust="signed-index", suite="bookworm/main",
    )  # fmt: skip


def test_distributions_are_found_by_their_metadata_in_every_form(tmp_path: Path) -> None:
    files = {
        "usr/lib/python3/dist-packages/PyYAML-6.0.dist-info/METADATA": "Name: PyYAML\nVersion: 6.0\n\nText\nName: no\n",
        "usr/lib/python3/dist-packages/PyGObject-3.egg-info/PKG-INFO": "Name: PyGObject\nVersion: 3.42.2\n",
        "usr/lib/python3.11/dist-packages/zope.interface-5.egg-info": "Name: zope.interface\nVersion: 5\n",
        "usr/share/python-wheels/pip-23.dist-info/METADATA": "Name: pip\nVersion: 23\n",
        "opt/x/dist-packages/other-1.dist-info/METADATA": "Name: other\nVersion: 1\n",
        "usr/lib/python3/dist-packages/deep/vendored-1.dist-info/METADATA": "Name: vendored\nVersion: 1\n",
    }
    pool = Pool(tmp_path / "pool")
    found = put(pool, make_deb(tmp_path, "python3-x", files), "python3-x")
    assert python_dists([found], pool) == {"pygobject": "3.42.2", "pyyaml": "6.0", "zope-interface": "5"}


def test_a_damaged_or_missing_package_is_an_error(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool")
    found = put(pool, make_deb(tmp_path, "python3-x", {}), "python3-x")
    pool.path(found.sha256).write_bytes(b"x" * found.size)
    with pytest.raises(IntegrityError, match="python3-x"):
        python_dists([found], pool)
    bad = tmp_path / "bad.deb"
    bad.write_bytes(b"no ar archive")
    with pytest.raises(FormatError, match=r"bad\.deb"):
        python_dists([put(pool, bad, "bad")], pool)


def test_packages_that_depend_on_python_are_read_too(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool")
    path = tmp_path / "x.deb"
    path.write_bytes(b"x")
    depends = {
        "python3-yaml": "",
        "cloud": "libc6, python3:any (>= 3.9)",
        "mod-wsgi": "apache2 | python3",
        "curl": "libc6 (>= 2)",
        "perl": "python-is-missing",
        "late": "python3.11",
    }
    found = [msgspec.structs.replace(put(pool, path, name), id=name) for name in depends]
    stanzas = {name: f"Package: {name}\nDepends: {text}\n" for name, text in depends.items()}
    assert [one.name for one in python_debs(found, stanzas)] == ["cloud", "late", "mod-wsgi", "python3-yaml"]
