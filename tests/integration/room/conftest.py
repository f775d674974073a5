"""A Debian root file system, made once, and rooms on a state folder that is kept between runs. Needs root."""

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from airlock.core.progress import SilentReporter
from airlock.engine.registry import import_tar
from airlock.room import MirrorFile, SealedRoom

CACHE = Path(__file__).parents[3] / ".cache" / "tests"
BASE = "localhost/test/base:1"


class FolderMirror:
    """Serves a folder, with made up digests so that records can be told apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, path: str) -> MirrorFile | None:
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            return None
        return MirrorFile(content=file, size=file.stat().st_size, sha256="ab" * 32, modified=1_700_000_000)


@pytest.fixture(scope="session")
def rootfs() -> Path:
    """Minimal Debian with empty logs, as a base image for Kolla has."""
    if os.geteuid() != 0:
        pytest.skip("rooms need root")
    tar = CACHE / "room-rootfs.tar"
    if not tar.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = CACHE / "room-rootfs.part.tar"
        part.unlink(missing_ok=True)
        subprocess.run(["mmdebstrap", "--variant=minbase", "--quiet", "bookworm", str(part)], check=True)
        with tarfile.open(part, "a") as archive:
            for name in ("dpkg", "alternatives"):
                archive.addfile(tarfile.TarInfo(f"./var/log/{name}.log"))
        part.rename(tar)
    return tar


@pytest.fixture(scope="session")
def state(rootfs) -> Path:
    return CACHE / "room-state"


@pytest.fixture
def www(tmp_path) -> Path:
    folder = tmp_path / "www"
    folder.mkdir()
    return folder


@pytest.fixture
def open_room(state, www):
    return lambda **more: SealedRoom.open("test", state, mirror=FolderMirror(www), reporter=SilentReporter(), **more)


@pytest.fixture
def base(rootfs):
    """Puts the base image into a room's engine."""

    async def put(room: SealedRoom) -> str:
        if (await room.engine.podman("image", "exists", BASE)).returncode != 0:
            await import_tar(room.engine, rootfs, BASE, architecture="amd64", timestamp=1_700_000_000)
        return BASE

    return put


@pytest.fixture
def build(tmp_path):
    """Builds a Dockerfile through the engine's API, as Kolla does."""

    async def run(room: SealedRoom, text: str, *options: str, tag: str = "localhost/test/built"):
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(text)
        return await room.engine.podman(
            "--url", room.engine.url, "build", "--no-cache", f"--tag={tag}", *options, context
        )

    return run
