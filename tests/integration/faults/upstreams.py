"""Stand-in upstreams on loopback: a package index and a signed Debian archive, which misbehave as told.

The archive holds what the real lock of ``base`` holds (its own indexes, signed by a key made for the session) and a few
packages that only stanzas tell of. The index passes on the real one, and keeps what it was asked for between runs.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError
from urllib.parse import unquote

from tests.integration.lock.test_apt_archive import Archive

from airlock.core.files import write_file
from airlock.fetch.simple import ACCEPT, JSON_TYPE, parse_page, rewrite_page
from airlock.fetch.upstreams import python_index

EXTRA = """
Package: left
Version: 1
Architecture: all
Maintainer: A <a@example.org>
Conflicts: right
Filename: pool/left_1_all.deb
Size: 10
SHA256: {0}1
Description: none

Package: right
Version: 1
Architecture: all
Maintainer: A <a@example.org>
Filename: pool/right_1_all.deb
Size: 10
SHA256: {0}2
Description: none

Package: needy
Version: 1
Architecture: all
Maintainer: A <a@example.org>
Depends: nowhere-to-be-had (>= 7)
Filename: pool/needy_1_all.deb
Size: 10
SHA256: {0}3
Description: none
""".format("0" * 63)


class Shelf:
    """The real package index, each page and file asked for once and then kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    def page(self, name: str, files_url: str) -> bytes | None:
        """The project's page, its files at ``files_url``; None where there is no such project."""
        found = self._page(name)
        return rewrite_page(*found, name, files_url) if found else None

    def file(self, name: str, file: str) -> bytes | None:
        """A project's file, or its ``.metadata``."""
        kept = self._folder / "files" / file
        with self._lock:
            if not kept.exists():
                data = self._fetch_file(name, file)
                if data is None:
                    return None
                write_file(kept, data, durable=False)
        return kept.read_bytes()

    def _page(self, name: str) -> tuple[bytes, str] | None:
        kept = self._folder / f"{name}.page"
        with self._lock:
            if not kept.exists():
                try:
                    request = urllib.request.Request(f"{python_index()}/{name}/", headers={"Accept": ACCEPT})
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        kind = answer.headers.get_content_type()
                        write_file(kept, f"{kind}\n{answer.url}\n".encode() + answer.read(), durable=False)
                except HTTPError as error:
                    if error.code != 404:
                        raise
                    return None
        kind, _, data = kept.read_bytes().split(b"\n", 2)
        return data, kind.decode()

    def _fetch_file(self, name: str, file: str) -> bytes | None:
        kept = self._folder / f"{name}.page"
        kind, url, data = kept.read_bytes().split(b"\n", 2)
        for listed in parse_page(data, kind.decode(), name, url.decode()):
            for suffix in ("", ".metadata"):
                if listed.filename + suffix == file:
                    with urllib.request.urlopen(listed.url + suffix, timeout=120) as answer:
                        return bytes(answer.read())
        return None


@dataclass
class Upstreams:
    """What is served, how it misbehaves, what was asked.

    Attributes:
        debs: path → file, for those of the lock, where the real archive and where the lock's own index have them.
        sign: gpg with the archive's key.
        faults: pattern of paths → ``down`` (503), ``gone`` (404), ``other`` (bytes changed, as many), ``cut`` (half,
            then closed), ``stall`` (half, then nothing), ``longer``.
        asked: paths in the order of asking.
        withheld: beginnings of file names, after a slash, that the index does not list: releases of a later day.
        rewritten: path → what is there instead, in the archive of a later day.
    """

    shelf: Shelf
    archive: Path
    debs: dict[str, Path]
    keyring: Path
    sign: Callable[..., None]
    faults: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    withheld: set[str] = field(default_factory=set)
    rewritten: dict[str, bytes] = field(default_factory=dict)
    url: str = ""

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """(body, media type) of what is there."""
        if found := re.fullmatch(r"/pypi/files/([^/]+)/([^/]+)", path):
            body = self.shelf.file(found[1], found[2])
            return None if body is None else (body, "application/octet-stream")
        if found := re.fullmatch(r"/pypi/([^/]+)/", path):
            body = self.shelf.page(found[1], f"{self.url}/pypi/files/{found[1]}")
            return None if body is None else (self._listed(body), JSON_TYPE)
        if path in self.rewritten:
            return self.rewritten[path], "application/octet-stream"
        file = self.debs.get(path) or self.archive / path.lstrip("/")
        return (file.read_bytes(), "application/octet-stream") if file.is_file() else None

    def _listed(self, page: bytes) -> bytes:
        """A project's page without what is withheld."""
        found = json.loads(page)
        found["files"] = [
            file
            for file in found["files"]
            if not any(f"/{file['filename'].lower()}".startswith(start) for start in self.withheld)
        ]
        found.pop("versions", None)
        return json.dumps(found).encode()

    def bump(self, versions: dict[str, str]) -> None:
        """The archive of a later day: these packages have those versions, and other bytes. Signed by the same key."""
        release = self.archive / "debian/dists/bookworm/Release"
        text = release.read_text().partition("SHA256:")[0] + "SHA256:\n"
        for packages in sorted(release.parent.rglob("Packages")):
            stanzas = packages.read_text().split("\n\n")
            data = "\n\n".join(_bumped(stanza, versions) for stanza in stanzas).encode()
            name = packages.relative_to(release.parent)
            text += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
            self.rewritten[f"/debian/dists/bookworm/{name}"] = data
        with TemporaryDirectory() as folder:
            plain, signed = Path(folder) / "Release", Path(folder) / "InRelease"
            plain.write_text(text)
            self.sign("--output", str(signed), "--clearsign", str(plain))
            self.rewritten["/debian/dists/bookworm/Release"] = plain.read_bytes()
            self.rewritten["/debian/dists/bookworm/InRelease"] = signed.read_bytes()

    def fault(self, path: str) -> str:
        """What is wrong with a path, if anything."""
        return next((fault for pattern, fault in self.faults.items() if re.search(pattern, path)), "")

    def settings(self, *, without: str = "", **addresses: str) -> str:
        """A factory.toml that leads here."""
        known = {name: f"{self.url}/{name}" for name in ("pypi", "debian", "debian-security")} | {
            name.replace("_", "-"): address for name, address in addresses.items()
        }
        tables = "".join(f'[upstreams.{name}]\naddress = "{at}"\n' for name, at in known.items() if name != without)
        return f'{tables}[fetch]\nretries = 1\ntimeout = 2\n[apt]\nkeyrings = ["{self.keyring}"]\n'


def _bumped(stanza: str, versions: dict[str, str]) -> str:
    found = re.search(r"^Package: (.+)$", stanza, re.MULTILINE)
    if found is None or found[1] not in versions:
        return stanza
    stanza = re.sub(r"^Version: .+$", f"Version: {versions[found[1]]}", stanza, flags=re.MULTILINE)
    return re.sub(r"^SHA256: .+$", f"SHA256: {hashlib.sha256(stanza.encode()).hexdigest()}", stanza, flags=re.MULTILINE)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstreams: Upstreams

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.upstreams.asked.append(path)
        fault = self.upstreams.fault(path)
        if fault == "down":
            self._send(503, b"no")
            return
        found = None if fault == "gone" else self.upstreams.answer(path)
        if found is None:
            self._send(404, b"none")
            return
        body, kind = found
        if fault == "other":
            body = bytes(byte ^ 1 for byte in body[:64]) + body[64:]
        elif fault == "longer":
            body += b"more"
        if fault in ("cut", "stall"):
            self._half(body, kind, fault)
        else:
            self._send(200, body, kind)

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _half(self, body: bytes, kind: str, fault: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        self.close_connection = True
        if fault == "stall":
            time.sleep(6)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:  # a client that gave up is no fault here
        pass


def serve(upstreams: Upstreams) -> Iterator[Upstreams]:
    """Serve until the generator is closed."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"upstreams": upstreams}))
    upstreams.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield upstreams
    server.shutdown()
    server.server_close()
    thread.join()


def write_archive(indexes: Path, archive: Archive) -> None:
    """A signed archive of a lock's own indexes, and ``EXTRA`` in the first suite."""
    for release in sorted(indexes.glob("apt/*/dists/*/Release")):
        folder = archive.root / release.parent.relative_to(indexes / "apt")
        text = release.read_text().partition("SHA256:")[0] + "SHA256:\n"
        for packages in sorted(release.parent.rglob("Packages")):
            data = packages.read_bytes()
            if release.parent.name == "bookworm":
                data = data.rstrip(b"\n") + b"\n" + EXTRA.encode()
            name = packages.relative_to(release.parent)
            write_file(folder / name, data, durable=False)
            text += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
        (folder / "Release").write_text(text)
        archive.gpg("--output", str(folder / "InRelease"), "--clearsign", str(folder / "Release"))
