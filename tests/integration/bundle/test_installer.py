"""install-airlock.py: the site's own airlock, from the bundle's wheels alone, by Debian's python3 without a network."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest
from tests.bundle_samples import Sample, forge, make_sample, make_wheel, tree

from airlock.core.digest import sha256_bytes

DEBIAN_PYTHON = "/usr/bin/python3"
CODE = "import sys, airlock_dependency\ndef main():\n    print('airlock of the bundle', airlock_dependency.NAME)\n"
MAIN = "kolla_airlock-0.1.0-py3-none-any.whl"
DEPENDENCY = "airlock_dependency-1.0-py3-none-any.whl"


WHEELS = {
    MAIN: make_wheel(
        MAIN,
        {"airlock_main.py": CODE},
        "Requires-Dist: airlock-dependency>=1\n",
        "[console_scripts]\nairlock = airlock_main:main\n",
    ),
    DEPENDENCY: make_wheel(DEPENDENCY, {"airlock_dependency.py": "NAME = 'and its dependency'\n"}),
}


def sample_with(root: Path, wheels: dict[str, bytes]) -> Sample:
    return make_sample(root, count=3, extra=wheels)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("factory")
    return Path(sample_with(root, WHEELS).bundle(root / "media").path)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A bundle of this test's own, to be harmed."""
    return Path(sample_with(tmp_path, WHEELS).bundle(tmp_path / "media").path)


def install(bundle: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installer in a network namespace that has nothing but a loopback that is down."""
    seal = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    command = [*seal, DEBIAN_PYTHON, "-W", "error", str(bundle / "install-airlock.py"), *map(str, arguments)]
    settings = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | environment
    return subprocess.run(command, check=False, capture_output=True, text=True, env=settings, timeout=300)


def test_it_makes_a_working_airlock_from_the_bundle_alone(bundle: Path, tmp_path: Path) -> None:
    before = tree(bundle)
    place = tmp_path / "venv"
    hostile = {
        "PIP_INDEX_URL": "http://mirror.example.org",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PYTHONPATH": "/nonexistent",
    }
    done = install(bundle, place, **hostile)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{place}/bin/airlock\n"
    said = subprocess.run([place / "bin" / "airlock"], check=True, capture_output=True, text=True).stdout
    assert said == "airlock of the bundle and its dependency\n"
    marked = json.loads((place / "airlock-bundle.json").read_text())
    assert marked["wheels"] == sorted(WHEELS)
    assert marked["manifest"] == sha256_bytes((bundle / "MANIFEST.json").read_bytes())
    assert tree(bundle) == before
    (place / "stale").touch()
    assert install(bundle, place).returncode == 0  # once more: afresh
    assert not (place / "stale").exists()


def test_an_interrupted_installation_starts_afresh(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    place.mkdir()
    (place / ".unfinished").touch()
    (place / "half").touch()
    assert install(bundle, place).returncode == 0
    assert not (place / "half").exists()
    assert (place / "bin" / "airlock").exists()


def test_a_folder_that_is_not_its_own_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("mine")
    done = install(bundle, tmp_path)
    assert done.returncode == 10
    assert "Choose another path" in done.stderr
    assert (tmp_path / "diary").read_text() == "mine"


def test_a_changed_wheel_is_refused_by_name(own: Path, tmp_path: Path) -> None:
    victim = own / "pool" / (sha := sha256_bytes(WHEELS[MAIN]))[:2] / f"{sha}.whl"
    victim.write_bytes(WHEELS[MAIN] + b"x")
    done = install(own, tmp_path / "venv")
    assert done.returncode == 7
    assert MAIN in done.stderr
    assert not (tmp_path / "venv").exists()
    victim.unlink()
    assert install(own, tmp_path / "venv").returncode == 9


def test_a_changed_lock_is_refused(own: Path, tmp_path: Path) -> None:
    lock = own / "airlock.lock"
    lock.write_bytes(lock.read_bytes().replace(b"kolla_airlock-0.1.0", b"kolla_airlock-6.6.6"))
    done = install(own, tmp_path / "venv")
    assert done.returncode == 7
    assert "airlock.lock" in done.stderr


def test_a_lock_with_a_climbing_name_is_refused(own: Path, tmp_path: Path) -> None:
    lock = own / "airlock.lock"
    lock.write_bytes(lock.read_bytes().replace(f'"file":"{DEPENDENCY}"'.encode(), b'"file":"../../../etc/x.whl"'))
    forge(own)
    done = install(own, tmp_path / "venv")
    assert done.returncode == 7
    assert "unsafe file" in done.stderr


def test_the_digest_on_the_transfer_paper_is_compared(bundle: Path, tmp_path: Path) -> None:
    digest = sha256_bytes((bundle / "MANIFEST.json").read_bytes())
    assert install(bundle, "--expect", "0" * 64, tmp_path / "a").returncode == 7
    assert install(bundle, "--expect", f"sha256:{digest}", tmp_path / "b").returncode == 0


def test_wheels_that_need_more_than_is_there_are_refused(tmp_path: Path) -> None:
    info = sample_with(tmp_path, {MAIN: WHEELS[MAIN]}).bundle(tmp_path / "media")
    done = install(Path(info.path), tmp_path / "venv")
    assert done.returncode == 9
    assert "airlock-dependency" in done.stderr


def test_a_bundle_without_airlock_for_this_machine_says_so(own: Path, tmp_path: Path) -> None:
    lock = own / "airlock.lock"
    lock.write_bytes(lock.read_bytes().replace(b'"arch":"x86_64","artifacts"', b'"arch":"riscv64","artifacts"'))
    forge(own)
    done = install(own, tmp_path / "venv")
    assert done.returncode == 9
    assert f"for {platform.machine()}, only for riscv64" in done.stderr
