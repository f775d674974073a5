"""Stand-ins for upstreams that cannot be reached: signed apt repositories, a keyserver, files, a list of mirrors.

Real gpg signs, dpkg-deb makes packages that install. Everything is made below one folder, and ``served`` on loopback
with one path a repository; ``settings`` is what a factory.toml says of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, unquote, urlsplit

from tests.web_server import Answer, answering

ARCHES = ("amd64", "arm64")


class Keys:
    """Keys of vendors, each with its own secret part, in a gpg home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *words: str, data: bytes | None = None) -> bytes:
        command = ["gpg", "--batch", "--yes", "--quiet", "--passphrase", "", *words]
        environment = os.environ | {"GNUPGHOME": str(self.home)}
        return subprocess.run(command, check=True, capture_output=True, env=environment, input=data).stdout

    def make(self, name: str) -> str:
        """A new key; its fingerprint."""
        self.gpg("--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never")
        return self.fingerprint(name)

    def fingerprint(self, name: str) -> str:
        lines = self.gpg("--with-colons", "--list-keys", f"{name}@example.org").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:"))

    def public(self, name: str, *, armored: bool = True) -> bytes:
        return self.gpg(*(["--armor"] if armored else []), "--export", f"{name}@example.org")

    def clearsign(self, name: str, data: bytes) -> bytes:
        return self.gpg("--local-user", f"{name}@example.org", "--clearsign", data=data)

    def detach(self, name: str, data: bytes) -> bytes:
        return self.gpg("--local-user", f"{name}@example.org", "--armor", "--detach-sign", data=data)


@contextmanager
def keys() -> Iterator[Keys]:
    """gpg-agent's socket wants a short path."""
    with TemporaryDirectory(prefix="gpg") as home:
        yield Keys(Path(home))
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def make_deb(
    folder: Path,
    name: str,
    version: str = "1",
    arch: str = "all",
    files: Mapping[str, str] | None = None,
    **fields: str,
) -> Path:
    """A package that installs and holds one file, and others by their paths; ``Pre_Depends`` is ``Pre-Depends``."""
    values = {"Package": name, "Version": version, "Architecture": arch, "Maintainer": "A <a@example.org>"}
    values |= {key.replace("_", "-"): value for key, value in fields.items()}
    values.setdefault("Description", "stand-in")
    tree = folder / f"tree-{name}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in values.items()))
    for path, text in {f"usr/share/stand-in/{name}": f"{version}\n", **(files or {})}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    file = folder / f"{name}_{version.replace(':', '%3a')}_{arch}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--uniform-compression", "-Znone", "--build", str(tree), str(file)],
        check=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1000000000"},
    )  # fmt: skip
    shutil.rmtree(tree)
    return file


def stanza(file: Path, filename: str) -> str:
    """A package's stanza of Packages."""
    control = subprocess.run(["dpkg-deb", "-f", str(file)], check=True, capture_output=True).stdout.decode()
    data = file.read_bytes()
    head, description = control.split("Description:", 1)
    listing = f"Filename: {filename}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    return f"{head}{listing}Description:{description.rstrip()}\n"


class Repository:
    """One signed repository below ``root``; a flat one where its suite ends in a slash.

    Args:
        component: one or more, by spaces apart; packages are in the first.

    Attributes:
        served: name of an index file → bytes that are there although Release names others.
    """

    def __init__(
        self, root: Path, suite: str, component: str = "main", fields: Mapping[str, str] | None = None
    ) -> None:
        self.root, self.suite, self.components = root, suite, component.split()
        self.fields = {"Origin": "stand-in", "Label": root.name, "Suite": suite.strip("./") or "flat"} | dict(
            fields or {}
        )
        self.packages: dict[str, list[str]] = {}
        self.served: dict[str, bytes] = {}
        root.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        return self.root if self.suite.endswith("/") else self.root / "dists" / self.suite

    def add(
        self,
        name: str,
        version: str = "1",
        arch: str = "all",
        listed: Iterable[str] = ARCHES,
        files: Mapping[str, str] | None = None,
        **fields: str,
    ) -> None:
        """Make a package and list it for these architectures (a native one for its own)."""
        pool = self.root if self.suite.endswith("/") else self.root / "pool"
        pool.mkdir(exist_ok=True)
        file = make_deb(pool, name, version, arch, files, **fields)
        place = f"./{file.name}" if pool == self.root else f"pool/{file.name}"
        self.add_stanza(stanza(file, place), listed if arch == "all" else [arch])

    def add_package(self, file: Path, place: str) -> None:
        """List a package of architecture ``all`` that is there."""
        self.add_stanza(stanza(file, place), ARCHES)

    def add_stanza(self, text: str, listed: Iterable[str]) -> None:
        for one in listed:
            self.packages.setdefault(one, []).append(text)

    def publish(
        self,
        keys: Keys,
        signer: str,
        *,
        valid_until: str = "",
        detached: bool = False,
        arches: Sequence[str] = ARCHES,
    ) -> None:
        """Write Packages (with by-hash) and Release; ``signer`` may be empty: unsigned."""
        files: dict[str, bytes] = {}
        if self.suite.endswith("/"):
            files["Packages"] = "\n".join(
                dict.fromkeys(one for some in self.packages.values() for one in some)
            ).encode()
        else:
            for arch in arches:
                text = "\n".join(self.packages.get(arch, ()))
                files[f"{self.components[0]}/binary-{arch}/Packages"] = text.encode()
                files |= {f"{component}/binary-{arch}/Packages": b"" for component in self.components[1:]}
        lines = [f"{key}: {value}" for key, value in self.fields.items()]
        lines += [f"Date: {formatdate(1700000000, usegmt=True)}", f"Architectures: {' '.join(arches)}"]
        lines += [f"Components: {' '.join(self.components)}", "Acquire-By-Hash: yes"] if self.components else []
        lines += [f"Valid-Until: {valid_until}"] if valid_until else []
        lines.append("SHA256:")
        for name, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            lines.append(f" {digest} {len(data)} {name}")
            path = self.folder / name
            served = self.served.get(name, data)
            (path.parent / "by-hash/SHA256").mkdir(parents=True, exist_ok=True)
            (path.parent / "by-hash/SHA256" / digest).write_bytes(served)
            path.write_bytes(served)
        release = ("\n".join(lines) + "\n").encode()
        for name in ("InRelease", "Release.gpg"):
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "Release").write_bytes(release)
        if signer and detached:
            (self.folder / "Release.gpg").write_bytes(keys.detach(signer, release))
        elif signer:
            (self.folder / "InRelease").write_bytes(keys.clearsign(signer, release))


class Upstreams:
    """A folder of stand-ins: files by their paths, and keys by the ids that a keyserver is asked for.

    Attributes:
        received: last 16 digits of a fingerprint (or whatever is asked for) → what the keyserver answers.
        moved: path → the place that it leads to.
        asked: paths in the order of asking.
    """

    def __init__(self, root: Path, ring: Keys) -> None:
        self.root, self.keys = root, ring
        self.received: dict[str, bytes] = {}
        self.moved: dict[str, str] = {}
        self.asked: list[str] = []
        self.address = ""

    @contextmanager
    def served(self) -> Iterator[str]:
        with answering(self.find) as self.address:
            yield self.address

    def find(self, path: str) -> Answer:
        """What is at a path, as a web server and a keyserver answer."""
        self.asked.append(path)
        if path in self.moved:
            return self.moved[path]
        parts = urlsplit(path)
        if parts.path.endswith("/pks/lookup"):
            query = parse_qs(parts.query)
            if query.get("op") != ["get"] or query.get("options") != ["mr"]:
                return None
            return self.received.get(query["search"][0].removeprefix("0x")[-16:])
        file = self.root / unquote(parts.path).lstrip("/")
        return file.read_bytes() if file.is_file() else None
