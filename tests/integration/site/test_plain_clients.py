"""The store is of use to people: ordinary apt and pip take from it, from the directory alone, without Airlock."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bundle_samples import QUIET, make_sample, make_site, make_wheel, write_indexes

from airlock.core.process import clean_environment
from airlock.site.importing import import_bundle
from airlock.store.artifacts import store_path

APT = """\
Dir "{root}";
Dir::State::status "{root}/status";
Dir::Etc::Trusted "/dev/null";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
"""


def deb(folder: Path) -> Path:
    """A real, empty Debian package."""
    root = folder / "tree"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: hello-site\nVersion: 1:2.0~rc1+b1\nArchitecture: all\nMaintainer: nobody\nDescription: x\n"
    )
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, folder], check=True, capture_output=True)
    return next(folder.glob("*.deb"))


@pytest.fixture
def store(tmp_path: Path) -> tuple[Path, Path]:
    """A site's store that holds one real .deb, one wheel, and the indexes that lead to them."""
    package = deb(tmp_path)
    wheel = "plain-1.0-py3-none-any.whl"
    sample = make_sample(
        tmp_path, count=0, extra={package.name: package.read_bytes(), wheel: make_wheel(wheel, {"plain.py": ""})}
    )
    files = {one.file: one for one in sample.lock.artifacts}
    one = files[package.name]
    control = subprocess.run(["dpkg-deb", "--field", package], check=True, capture_output=True, text=True).stdout
    filename = store_path(one.sha256, one.file)
    packages = f"{control}Filename: {filename}\nSize: {one.size}\nSHA256: {one.sha256}\n\n".encode()
    listed = {"main/binary-amd64/Packages": packages, "main/binary-amd64/Packages.gz": gzip.compress(packages, mtime=0)}
    release = "Suite: bookworm\nCodename: bookworm\nComponents: main\nArchitectures: amd64\nSHA256:\n" + "".join(
        f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in listed.items()
    )
    base = "apt/debian/dists/bookworm"
    sha256 = files[wheel].sha256
    link = f'<a href="../../../../../../{store_path(sha256, wheel)}#sha256={sha256}">{wheel}</a>'
    page = f"<!DOCTYPE html><html><body>{link}</body></html>\n".encode()
    indexes = {f"{base}/{name}": data for name, data in listed.items()}
    write_indexes(
        sample.factory,
        sample.lock,
        **indexes,
        **{f"{base}/Release": release.encode(), "pypi/simple/plain/index.html": page},
    )
    site = make_site(tmp_path / "site")
    info = sample.bundle(tmp_path / "media")
    import_bundle(Path(info.path), site, expect=info.manifest, allow_older=False, reporter=QUIET)
    return site.artifacts, package


def test_apt_takes_from_the_dists_of_a_bundle(store: tuple[Path, Path], tmp_path: Path) -> None:
    artifacts, package = store
    root = tmp_path / "apt"
    for name in (
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
    ):
        (root / name).mkdir(parents=True)
    (root / "status").touch()
    (root / "apt.conf").write_text(APT.format(root=root))
    line = f"deb [trusted=yes] file:{artifacts} stream-r1/debian/bookworm main\n"
    (root / "etc" / "apt" / "sources.list").write_text(line)
    environment = clean_environment(APT_CONFIG=str(root / "apt.conf"))
    run = {"env": environment, "check": True, "capture_output": True, "text": True, "cwd": tmp_path / "apt"}
    subprocess.run(["apt-get", "update", "-o", "APT::Update::Error-Mode=any"], **run)
    shown = subprocess.run(["apt-cache", "policy", "hello-site"], **run).stdout
    assert "Candidate: 1:2.0~rc1+b1" in shown
    # `download` copies even from file:, so the hash is checked on the way.
    subprocess.run(["apt-get", "download", "hello-site"], **run)
    assert next((tmp_path / "apt").glob("hello-site*.deb")).read_bytes() == package.read_bytes()


def test_pip_takes_from_the_simple_pages_of_a_bundle(store: tuple[Path, Path], tmp_path: Path) -> None:
    artifacts, _ = store
    index = f"file://{artifacts}/bundles/stream-r1/indexes/pypi/simple"
    got = tmp_path / "got"
    command = [
        sys.executable,
        "-I",
        "-m",
        "pip",
        "--isolated",
        "--no-cache-dir",
        "download",
        "--no-deps",
        "--only-binary",
    ]
    subprocess.run(
        [*command, ":all:", "-d", got, "--index-url", index, "plain"],
        env=clean_environment(),
        check=True,
        capture_output=True,
    )
    assert [path.name for path in got.iterdir()] == ["plain-1.0-py3-none-any.whl"]
