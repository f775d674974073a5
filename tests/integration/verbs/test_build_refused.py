"""`build` where it cannot: no root, no engine, no bundle, a store that lost a file. It says why; nothing is built."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.integration.faults.airlock_runs import airlock, done, refused
from tests.integration.verbs.conftest import clone

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes rights and programs away, which wants root")

DENIED, INCOMPLETE, STATE, TOOL, ROOM = 1, 9, 10, 11, 14
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")


def without(*programs: str) -> tuple[str, ...]:
    """Words before a command that make it find no such programs."""
    script = "".join(f"mount --bind /dev/null {shutil.which(program)}; " for program in programs)
    return ("unshare", "--mount", "/bin/sh", "-ec", script + 'exec "$@"', "sh")


@pytest.fixture(scope="session")
def imported(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that holds the bundle; to be read only."""
    site = tmp_path_factory.mktemp("imported")
    (site / "site.toml").write_text('name = "test"\n')
    done(airlock("import", bundle, "--site", site))
    return site


@pytest.fixture
def stocked(imported: Path, tmp_path: Path) -> Path:
    """A site that holds the bundle, to be broken."""
    return clone(imported, tmp_path / "stocked")


@pytest.fixture
def reachable(imported: Path) -> Iterator[Path]:
    """A copy of the site where every user may come (pytest's own folders are root's alone)."""
    with TemporaryDirectory(prefix="airlock-site-") as name:
        Path(name).chmod(0o755)
        site = Path(shutil.copytree(imported, Path(name) / "site", symlinks=True))
        site.chmod(0o755)
        yield site


def rooms() -> set[str]:
    """What rooms there are: their namespaces and run folders."""
    return {
        str(path) for place in ("/run/netns", "/run/airlock") for path in Path(place).glob("*") if path.suffix == ""
    }


def failures(site: Path) -> list[dict[str, object]]:
    found = [json.loads(path.read_bytes()) for path in sorted(site.glob("records/*/record.json"))]
    assert all(record["state"] == "failure" and record["images"] == [] for record in found)
    return found


def test_a_site_of_someone_elses_is_told_as_a_missing_right(reachable: Path, bundle: Path) -> None:
    result = airlock("build", "--bundle", bundle.name, "--site", reachable, before=NOBODY, cwd=Path("/"))
    refused(result, DENIED, f"{reachable}/build.lock: Permission denied", "root")
    assert failures(reachable) == []


def test_without_root_no_room_is_made_and_the_record_says_why(reachable: Path, bundle: Path) -> None:
    for place in (reachable, *reachable.rglob("*")):
        os.chown(place, 65534, 65534)
    result = airlock("build", "--bundle", bundle.name, "--site", reachable, before=NOBODY, cwd=Path("/"))
    refused(result, ROOM, "only be made by root", "sudo", "record.json")
    (record,) = failures(reachable)
    assert "root" in str(record["error"])


@pytest.mark.parametrize(
    "program", ["podman", *(pytest.param(name, marks=pytest.mark.full) for name in ("runc", "nft", "mmdebstrap"))]
)
def test_without_a_program_that_a_build_needs_its_package_is_named(stocked: Path, bundle: Path, program: str) -> None:
    package = {"nft": "nftables"}.get(program, program)
    before = rooms()
    result = airlock("build", "--bundle", bundle.name, "--site", stocked, before=without(program), cwd=Path("/"))
    refused(result, TOOL, program, f"apt-get install --no-install-recommends {package}")
    assert len(failures(stocked)) == 1
    assert rooms() == before, "nothing of the room is left"


def test_a_bundle_that_is_not_there_is_told_with_the_nearest(stocked: Path, bundle: Path) -> None:
    refused(airlock("build", "--bundle", f"{bundle.name}1", "--site", stocked), STATE, bundle.name)
    assert failures(stocked) == []


def test_a_file_that_the_store_lost_is_named_and_importing_again_mends_it(stocked: Path, bundle: Path) -> None:
    lost = next((stocked / "artifacts/pool").rglob("lsof*.deb"))
    lost.unlink()
    result = airlock("build", "--bundle", bundle.name, "--site", stocked)
    refused(result, INCOMPLETE, lost.name, "Import the same bundle again")
    assert len(failures(stocked)) == 1
    done(airlock("import", bundle, "--site", stocked))
    assert lost.exists()
