"""A stand-in for extrepo's data, signed; the package extrepo that names it; Debian's archive with that package in it.

What extrepo takes must be signed by the key in Debian's package. So the package is the real one but for its
configuration and keyring, and the archive is Debian's own but for that one package, signed anew.
"""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

from tests.apt_upstream import Keys, Repository, Upstreams, stanza
from tests.web_server import serving

NAME = "openstack_caracal"
SUITES = "bookworm-caracal-backports bookworm-caracal-backports-nochange"
SIGNER = "extrepo"


class ExtrepoData:
    """The index, its signature and the keys, below ``extrepo-data`` of some upstreams.

    Attributes:
        index: repository → its entry, as the index has it.
        folder: of one distribution's data.
    """

    def __init__(self, upstreams: Upstreams) -> None:
        self.upstreams, self.keys = upstreams, upstreams.keys
        self.folder = upstreams.root / "extrepo-data/debian/bookworm"
        self.folder.mkdir(parents=True)
        self.index: dict[str, dict[str, Any]] = {}

    @property
    def url(self) -> str:
        return f"{self.upstreams.address}/extrepo-data"

    def add(self, name: str, key: bytes, address: str, **more: object) -> None:
        """A repository as the real index of April 2024 has openstack_caracal."""
        file = f"{name}.asc"
        (self.folder / file).write_bytes(key)
        source = {"Architectures": "amd64 arm64", "Components": "main", "Suites": SUITES, "Types": "deb deb-src"}
        entry: dict[str, object] = {
            "description": "stand-in",
            "gpg-key-checksum": {"sha256": hashlib.sha256(key).hexdigest()},
            "gpg-key-file": file,
            "policy": "main",
            "source": source | {"URIs": address},
        }
        self.index[name] = entry | more

    def publish(self, signer: str = SIGNER) -> None:
        """Write the index (JSON is YAML) and sign it; ``signer`` may be empty: unsigned."""
        data = b"---\n" + json.dumps(self.index, indent=1).encode()
        (self.folder / "index.yaml").write_bytes(data)
        (self.folder / "index.yaml.asc").unlink(missing_ok=True)
        if signer:
            (self.folder / "index.yaml.asc").write_bytes(self.keys.detach(signer, data))


def repositories(root: Path) -> list[Repository]:
    """The two suites of OpenStack's backports, with one package and none."""
    first, second = (
        Repository(root, suite, fields={"Origin": "Infomaniak", "Suite": suite, "Codename": suite})
        for suite in SUITES.split()
    )
    return [first, second]


def extrepo_package(folder: Path, url: str, keyring: bytes, real: Path | None = None) -> Path:
    """A package extrepo that is configured with these; all else is as in ``real``, or there is nothing else."""
    tree = folder / "extrepo-tree"
    shutil.rmtree(tree, ignore_errors=True)
    if real is not None:
        subprocess.run(["dpkg-deb", "-R", str(real), str(tree)], check=True, capture_output=True)
        (tree / "DEBIAN/md5sums").unlink()
    else:
        (tree / "DEBIAN").mkdir(parents=True)
        fields = "Package: extrepo\nVersion: 0.11\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: x\n"
        (tree / "DEBIAN/control").write_text(fields)
    (tree / "etc/extrepo").mkdir(parents=True, exist_ok=True)
    config = f"---\nurl: {url}\ndist: debian\nversion: bookworm\nenabled_policies:\n- main\n# - contrib\n# - non-free\n"
    (tree / "etc/extrepo/config.yaml").write_text(config)
    (tree / "etc/extrepo/keyring.gpg").write_bytes(keyring)
    file = folder / "extrepo_0.11_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "--uniform-compression", "-Znone", "--build", str(tree), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(tree)
    return file


@contextmanager
def debian_with(package: Path, real: str, keys: Keys, signer: str) -> Iterator[str]:
    """Debian's archive at an address of its own: bookworm/main for amd64, with another extrepo; all else is ``real``'s.

    Args:
        real: address of the archive.
        signer: signs bookworm's Release.
    """
    root = "dists/bookworm"
    listed = gzip.decompress(_get(f"{real}/{root}/main/binary-amd64/Packages.gz"))
    place = "pool/main/e/extrepo/extrepo_0.11_all.deb"
    kept = [one for one in listed.split(b"\n\n") if not one.startswith(b"Package: extrepo\n")]
    packages = b"\n\n".join(one.strip(b"\n") for one in (stanza(package, place).encode(), *kept) if one.strip())
    packed = gzip.compress(packages + b"\n", compresslevel=1, mtime=0)
    lines = ["Origin: Debian", "Label: Debian", "Suite: oldstable", "Version: 12", "Codename: bookworm"]
    lines += [f"Date: {formatdate(1700000000, usegmt=True)}", "Architectures: amd64", "Components: main", "SHA256:"]
    name = "main/binary-amd64/Packages"
    for file, data in ((name, packages + b"\n"), (f"{name}.gz", packed)):
        lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {file}")
    made = {
        f"{root}/InRelease": keys.clearsign(signer, ("\n".join(lines) + "\n").encode()),
        f"{root}/{name}.gz": packed,
        place: package.read_bytes(),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix("/debian/")
            data = made.get(path)
            if data is None and not path.startswith(f"{root}/"):
                try:
                    data = _get(f"{real}/{path}")
                except urllib.error.HTTPError:
                    data = None
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as address:
        yield f"{address}/debian"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        data: bytes = answer.read()
        return data
