"""A stand-in for Ansible Galaxy on loopback: its API, version 3, with pages, and collections that really install.

What it offers is made here; it imitates nothing but the protocol that ansible-galaxy speaks (ansible-core,
``galaxy/api.py``). A file is behind a redirect to another path, as Galaxy's lie in an object storage.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.web_server import Answer, answering


def collection(name: str, version: str, dependencies: Mapping[str, str]) -> bytes:
    """The tarball of a collection of one file: MANIFEST.json names FILES.json, which names the file."""
    namespace, _, plain = name.partition(".")
    readme = f"{name} {version}\n".encode()
    listed: list[dict[str, Any]] = [
        {"name": ".", "ftype": "dir", "chksum_type": None, "chksum_sha256": None, "format": 1},
        {"name": "README.md", "ftype": "file", "chksum_type": "sha256", "format": 1}
        | {"chksum_sha256": hashlib.sha256(readme).hexdigest()},
    ]
    files = json.dumps({"files": listed, "format": 1}).encode()
    info = {"namespace": namespace, "name": plain, "version": version, "dependencies": dict(dependencies)}
    info |= {"authors": ["Nobody"], "readme": "README.md", "tags": [], "description": None, "license": []}
    manifest = {
        "collection_info": info,
        "format": 1,
        "file_manifest_file": {"name": "FILES.json", "ftype": "file", "chksum_type": "sha256", "format": 1}
        | {"chksum_sha256": hashlib.sha256(files).hexdigest()},
    }
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for file, data in (
            ("MANIFEST.json", json.dumps(manifest).encode()),
            ("FILES.json", files),
            ("README.md", readme),
        ):
            member = tarfile.TarInfo(file)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


class GalaxyStandIn:
    """``add`` collections, then ``serving``; ``asked`` is every path that was asked for."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, tuple[bytes, dict[str, str]]]] = {}
        self.changed: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.address = ""
        self.page = 2  # versions on one page, whatever a client asks for

    def add(self, name: str, version: str, **dependencies: str) -> None:
        wanted = {one.replace("__", "."): versions for one, versions in dependencies.items()}
        self.collections.setdefault(name, {})[version] = (collection(name, version, wanted), wanted)

    @contextmanager
    def serving(self) -> Iterator[str]:
        with answering(self.answer, "application/json") as self.address:
            yield self.address

    def answer(self, target: str) -> Answer:
        self.asked.append(target)
        parts = urlsplit(target)
        match parts.path.strip("/").split("/"):
            case ["api"]:
                return json.dumps({"available_versions": {"v3": "v3/", "pulp-v3": "pulp/api/v3/"}}).encode()
            case ["api", "v3", "collections", namespace, name]:
                known = f"{namespace}.{name}" in self.collections
                return b'{"created_at": "2026-01-01", "updated_at": "2026-01-02"}' if known else None
            case ["api", "v3", "collections", namespace, name, "versions"]:
                return self._versions(f"{namespace}.{name}", parts.path, parse_qs(parts.query))
            case ["api", "v3", "collections", namespace, name, "versions", version]:
                return self._version(f"{namespace}.{name}", version)
            case ["api", "v3", "artifacts", file]:
                return f"/storage/{file}?signature=abc%2Fdef"
            case ["storage", file]:
                return next((data for one, data in self.files().items() if one == file), None)
        return None

    def files(self) -> dict[str, bytes]:
        return {
            f"{name.replace('.', '-')}-{version}.tar.gz": data
            for name, versions in self.collections.items()
            for version, (data, _) in versions.items()
        }

    def _versions(self, name: str, path: str, query: Mapping[str, list[str]]) -> bytes | None:
        if name not in self.collections:
            return None
        known = list(self.collections[name])
        at = int(query.get("offset", ["0"])[0])
        end = at + self.page
        following = f"{path}?limit={self.page}&offset={end}" if end < len(known) else None
        return json.dumps(
            {
                "meta": {"count": len(known)},
                "links": {"first": None, "previous": None, "next": following, "last": None},
                "data": [{"version": one, "href": f"{path}{one}/"} for one in known[at:end]],
            }
        ).encode()

    def _version(self, name: str, version: str) -> bytes | None:
        if version not in self.collections.get(name, {}):
            return None
        data, dependencies = self.collections[name][version]
        namespace, _, plain = name.partition(".")
        file = f"{namespace}-{plain}-{version}.tar.gz"
        page: dict[str, Any] = {
            "version": version,
            "href": f"/api/v3/collections/{namespace}/{plain}/versions/{version}/",
            "namespace": {"name": namespace},
            "collection": {"name": plain},
            "artifact": {"filename": file, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
            "metadata": {"dependencies": dependencies},
            "download_url": f"{self.address}/api/v3/artifacts/{file}",
            "signatures": [],
        }
        return json.dumps(page | self.changed.get((name, version), {})).encode()


KOLLAS = [("ansible.posix", 2), ("community.general", 4), ("community.mysql", 3), ("community.rabbitmq", 2),
          ("openstack.cloud", 3), ("openvswitch.openvswitch", 3)]  # fmt: skip
"""kolla-toolbox's collections, each with the major version that it must be below."""


def kollas(galaxy: GalaxyStandIn) -> None:
    """What kolla-toolbox asks for, each in a version that its range takes and in one beyond, and a dependency."""
    for name, bound in KOLLAS:
        galaxy.add(name, f"{bound - 1}.0.0")
        galaxy.add(name, f"{bound}.0.0")
    galaxy.add("community.general", "3.9.0", ansible__utils=">=1")
    galaxy.add("ansible.utils", "2.0.0")
