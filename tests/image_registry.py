"""A real registry on loopback, and images for it made of tars."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import socket
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI = "application/vnd.oci.image"


def tar(members: Mapping[str, bytes | tarfile.TarInfo | None]) -> bytes:
    """Name → bytes of a file, None for a folder, or a whole member (a link, a device)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, what in members.items():
            if isinstance(what, tarfile.TarInfo):
                what.name = name
                archive.addfile(what)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(what or b"")
            member.type = tarfile.DIRTYPE if what is None else tarfile.REGTYPE
            archive.addfile(member, io.BytesIO(what or b""))
    return stream.getvalue()


def link(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, target
    return member


class Image:
    """One image: its blobs by sha256, its manifest."""

    def __init__(
        self,
        layers: Sequence[bytes],
        *,
        architecture: str = "amd64",
        created: str = "2024-05-06T07:08:09.123456789Z",
        history: bool = True,
    ) -> None:
        self.packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        config: dict[str, Any] = {
            "architecture": architecture,
            "os": "linux",
            "created": created,
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers],
            },
        }
        config["history"] = [{"created_by": "test"} for _ in layers] if history else []
        self.config = json.dumps(config).encode()
        self.blobs = {hashlib.sha256(data).hexdigest(): data for data in [self.config, *self.packed]}
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": {"mediaType": f"{OCI}.config.v1+json", **descriptor(self.config)},
                "layers": [{"mediaType": f"{OCI}.layer.v1.tar+gzip", **descriptor(data)} for data in self.packed],
            }
        ).encode()
        self.architecture = architecture


def descriptor(data: bytes) -> dict[str, Any]:
    return {"digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def manifest_list(images: Sequence[Image]) -> bytes:
    """The list that names them by architecture."""
    entries = [
        {
            "mediaType": f"{OCI}.manifest.v1+json",
            "platform": {"architecture": image.architecture, "os": "linux"},
            **descriptor(image.manifest),
        }
        for image in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": LIST, "manifests": entries}).encode()


class Registry:
    """Debian's docker-registry while it runs."""

    def __init__(self, port: int, storage: Path) -> None:
        self.host = f"127.0.0.1:{port}"
        self.address = f"http://{self.host}"
        self.storage = storage

    def push(self, repository: str, images: Sequence[Image], tag: str = "bookworm") -> str:
        """Put images in, and a list of them; returns the list's digest."""
        for image in images:
            for sha256, data in image.blobs.items():
                self._send("POST", f"{repository}/blobs/uploads/", sha256, data)
            self._put(repository, descriptor(image.manifest)["digest"], image.manifest, f"{OCI}.manifest.v1+json")
        listed = manifest_list(images)
        self._put(repository, tag, listed, LIST)
        return str(descriptor(listed)["digest"])

    def blob(self, sha256: str) -> Path:
        """Where it keeps a blob."""
        return self.storage / "docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"

    def _send(self, method: str, path: str, sha256: str, data: bytes) -> None:
        begun = urllib.request.Request(f"{self.address}/v2/{path}", method=method, data=b"")
        with urllib.request.urlopen(begun) as answer:
            place = answer.headers["Location"]
        place += f"{'&' if '?' in place else '?'}digest=sha256:{sha256}"
        sent = urllib.request.Request(
            place, method="PUT", data=data, headers={"Content-Type": "application/octet-stream"}
        )
        urllib.request.urlopen(sent).close()

    def _put(self, repository: str, name: str, data: bytes, kind: str) -> None:
        url = f"{self.address}/v2/{repository}/manifests/{name}"
        urllib.request.urlopen(
            urllib.request.Request(url, method="PUT", data=data, headers={"Content-Type": kind})
        ).close()


def htpasswd(user: str, password: str) -> str:
    """A line of the file that a registry compares logins with (bcrypt, by libcrypt)."""
    perl = ["perl", "-e", "print $ARGV[0], ':', crypt($ARGV[1], '$2y$05$abcdefghijklmnopqrstuu')", user, password]
    return subprocess.run(perl, capture_output=True, text=True, check=True).stdout + "\n"


@contextlib.contextmanager
def registry(folder: Path, login: Path | None = None) -> Iterator[Registry]:
    """A registry with its storage below ``folder``; ``login`` is an htpasswd file it asks for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    auth = f"auth: {{htpasswd: {{realm: test, path: {login}}}}}\n" if login else ""
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n{auth}"
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
        yield Registry(port, folder / "registry")
    finally:
        process.kill()
        process.wait()
