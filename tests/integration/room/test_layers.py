"""Logs of a build stay out of its layers; images come in and go out unchanged."""

# A test may wait for a short program.
# ruff: noqa: ASYNC221

import contextlib
import hashlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from airlock.core.errors import UpstreamError
from airlock.engine.push import publish
from airlock.engine.registry import import_tar
from airlock.engine.skopeo import Access

APT = """FROM {image}
RUN rm -f /etc/apt/sources.list.d/* /etc/apt/sources.list \\
 && echo 'deb [trusted=yes] http://mirror.airlock.internal/apt/ ./' > /etc/apt/sources.list.d/a.list \\
 && apt-get update && apt-get install -y probe && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \\
 && ldconfig && update-alternatives --install /usr/bin/probe probe /bin/true 1 \\
 && test -s /var/log/dpkg.log && test -s /var/log/apt/history.log && test -s /var/cache/ldconfig/aux-cache
"""


def repository(folder: Path) -> None:
    """A flat apt repository of one package without content."""
    control = folder / "probe" / "DEBIAN" / "control"
    control.parent.mkdir(parents=True)
    control.write_text(
        "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: T <t@example.org>\nDescription: nothing\n"
    )
    deb = folder / "probe.deb"
    subprocess.run(["dpkg-deb", "--build", control.parents[1], deb], check=True, capture_output=True)
    data = deb.read_bytes()
    (folder / "Packages").write_text(
        f"{control.read_text()}Filename: ./probe.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    )


async def test_logs_of_apt_dpkg_and_ldconfig_leave_no_trace_in_the_layer(open_room, www, base, build):
    class Flat:
        def open(self, path):
            return mirror.open(path.replace("/./", "/"))

    (www / "apt").mkdir()
    repository(www / "apt")
    identifiers = []
    async with open_room() as room:
        mirror = room._gateway._mirror
        room._gateway._mirror = Flat()
        for _ in range(2):
            result = await build(room, APT.format(image=await base(room)), "--timestamp=1700000000")
            assert result.returncode == 0, result.stderr
            identifiers.append(result.stdout.decode().split()[-1])
        assert identifiers[0] == identifiers[1]
        result = await build(room, APT.format(image=await base(room)))
        assert result.returncode == 0
        upper = await room.engine.podman(
            "image", "inspect", "--format={{.GraphDriver.Data.UpperDir}}", "localhost/test/built"
        )
        layer = Path(upper.stdout.decode().strip())
        found = {str(path.relative_to(layer)) for path in layer.rglob("*")}
    assert "var/lib/dpkg/info/probe.list" in found
    assert {path for path in found if path.startswith(("var/log", "var/cache/ldconfig"))} == set()


async def test_the_same_root_file_system_gives_the_same_image(open_room, tmp_path):
    tar = tmp_path / "root.tar"
    (tmp_path / "hello").write_text("hello")
    subprocess.run(["tar", "-C", tmp_path, "-cf", tar, "hello"], check=True)
    async with open_room() as room:
        first = await import_tar(room.engine, tar, "localhost/test/tiny:1", architecture="amd64", timestamp=1)
        second = await import_tar(room.engine, tar, "localhost/test/tiny:2", architecture="amd64", timestamp=1)
        other = await import_tar(room.engine, tar, "localhost/test/tiny:3", architecture="amd64", timestamp=2)
        shown = await room.engine.podman("image", "inspect", "--format={{.Id}} {{.Created}}", "localhost/test/tiny:1")
    assert first == second != other
    assert shown.stdout.decode().startswith(f"{first} 1970-01-01 00:00:01")


@contextlib.contextmanager
def registry(folder: Path):
    """Debian's docker-registry on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    process = subprocess.Popen(
        ["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not installed")
async def test_a_published_image_has_the_digest_that_is_read_back(open_room, tmp_path, state):
    tar = tmp_path / "root.tar"
    (tmp_path / "hello").write_text("hello")
    subprocess.run(["tar", "-C", tmp_path, "-cf", tar, "hello"], check=True)
    with registry(tmp_path) as host:
        async with open_room() as room:
            await import_tar(room.engine, tar, "localhost/test/tiny:1", architecture="amd64", timestamp=1)
            paths = room.engine.paths
            target = f"docker://{host}/test/tiny:1"
            digest = await publish(paths, "localhost/test/tiny:1", target, Access(verify_tls=False))
            layout = await publish(paths, "localhost/test/tiny:1", f"oci:{tmp_path}/oci:tiny", Access())
        command = ["skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}", target]
        shown = subprocess.run(command, capture_output=True, check=True).stdout.decode().strip()
    assert digest == shown
    assert layout.removeprefix("sha256:") in {path.name for path in (tmp_path / "oci/blobs/sha256").iterdir()}
    assert str(state) not in Path("/proc/mounts").read_text()


async def test_a_registry_that_is_down_is_named(open_room, tmp_path):
    async with open_room() as room:
        with pytest.raises(UpstreamError, match=r"127\.0\.0\.1:1"):
            await publish(
                room.engine.paths, "localhost/test/base:1", "docker://127.0.0.1:1/x:1", Access(verify_tls=False)
            )
