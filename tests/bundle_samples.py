"""Small factories, bundles and sites for tests: real files, real hashes, a few kilobytes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import random
import zipfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from airlock.bundle import names
from airlock.bundle.make import make_bundle
from airlock.bundle.manifest import FileEntry, Manifest, content_bytes, read_manifest, sums_bytes
from airlock.bundle.write import BundleInfo
from airlock.core.canonical import canonical_line
from airlock.core.digest import sha256_bytes
from airlock.core.progress import SilentReporter
from airlock.core.settings import Factory, FetchTable, Site, UpstreamTable, load_factory, load_site
from airlock.definition.load import load_definition
from airlock.definition.model import LoadedDefinition
from airlock.fetch.witness import Witness
from airlock.lock.git_repositories import resolve_repositories
from airlock.lock.model import Artifact, ArtifactKind, Demand, Image, Lock, make_lock
from airlock.store.artifacts import store_path
from airlock.store.pool import Pool

QUIET = SilentReporter()
KINDS: list[tuple[ArtifactKind, str]] = [
    ("deb", "lib{0}_1.{0}-2+deb12u1~x_amd64.deb"),
    ("wheel", "pkg_{0}-{0}.0-py3-none-any.whl"),
    ("sdist", "proj-{0}.0.tar.gz"),
    ("source", "keystone-{0}.tar.gz"),
]
RELEASE = """\
name = "{name}"
openstack = "2024.1"
images = ["keystone"]

[kolla]
version = "18.8.0"

[base]
distribution = "debian"
release = "bookworm"
architectures = ["x86_64"]
"""


@dataclass(frozen=True)
class Sample:
    """A factory with a definition, its lock, its indexes and its pool."""

    factory: Factory
    definition: LoadedDefinition
    lock: Lock

    @property
    def pool(self) -> Pool:
        return Pool(self.factory.pool)

    def bundle(self, media: Path) -> BundleInfo:
        return make_bundle(self.factory, self.definition, media, QUIET)


def make_sample(
    root: Path,
    *,
    name: str = "stream",
    seed: int = 0,
    count: int = 6,
    size: int = 300,
    extra: dict[str, bytes] | None = None,
    repositories: dict[str, tuple[str, str]] | None = None,
    stand_in: bool = False,
) -> Sample:
    """A factory below ``root`` whose lock has ``count`` artifacts of about ``size`` bytes; ``seed`` decides the bytes.

    Args:
        extra: further artifacts, file name → bytes; ``.whl`` files answer the demand for Airlock itself.
        repositories: git repositories that it carries, name → (ref, address).
        stand_in: all artifacts are of a stand-in.
    """
    folder = root / "definition"
    folder.mkdir(parents=True, exist_ok=True)
    text = RELEASE.format(name=name)
    for repository, (ref, _) in (repositories or {}).items():
        text += f'[git.{repository}]\nref = "{ref}"\n'
    (folder / "release.toml").write_text(text)
    (folder / "upper-constraints.txt").write_text("requests===2.31.0\n")
    factory = load_factory(root / "factory")
    definition = load_definition(folder)
    chance = random.Random(seed)
    files = {}
    for number in range(count):
        kind, pattern = KINDS[number % len(KINDS)]
        files[pattern.format(number)] = (kind, chance.randbytes(chance.randint(size // 2, size)))
    for file, data in (extra or {}).items():
        files[file] = ("wheel" if file.endswith(".whl") else "deb", data)
    pool = Pool(factory.pool)
    artifacts = []
    for file, (kind, data) in files.items():
        sha256 = pool.add_bytes(data)
        project = file.partition("-" if kind != "deb" else "_")[0].replace("_", "-")
        artifacts.append(
            Artifact(
                f"{kind}/{file}",
                kind,
                project,
                "1.0",
                "any",
                file,
                sha256,
                len(data),
                "debian",
                file,
                "signed-index",
                stand_in=stand_in,
            )
        )
    sha = sha256_bytes(b"x")
    ids = tuple(sorted(one.id for one in artifacts))
    tools = tuple(one.id for one in artifacts if one.kind == "wheel" and one.file in (extra or {}))
    carried = asyncio.run(_repositories(definition, pool, root, repositories)) if repositories else []
    lock = make_lock(
        release=name,
        definition=definition.digest,
        kolla={"source": "pypi", "version": "18.8.0"},
        witness=sha,
        requires={"apt": "2.6.1"},
        images=[Image("debian", "x86_64", "keystone", "", sha, sha, sha)],
        demands=[
            Demand("x86_64", "keystone", 3, "apt", "install everything", ids),
            Demand("x86_64", "", 0, "tool", "kolla-airlock==0.1.0", tools),
            *(demand for demand, _ in carried),
        ],
        artifacts=[*artifacts, *(artifact for _, artifact in carried)],
    )
    write_lock(definition, lock)
    write_indexes(factory, lock)
    return Sample(factory, definition, lock)


async def _repositories(
    definition: LoadedDefinition, pool: Pool, root: Path, repositories: dict[str, tuple[str, str]]
) -> list[tuple[Demand, Artifact]]:
    """As ``lock`` answers for them."""
    upstreams = {name: UpstreamTable(address=address) for name, (_, address) in repositories.items()}
    async with Witness.record(pool, {"pypi": "http://127.0.0.1:9/simple"}, FetchTable(retries=0)) as witness:
        found = await resolve_repositories(definition.definition, upstreams, witness, pool, root / "work")
    return list(found.values())


def write_lock(definition: LoadedDefinition, lock: Lock) -> None:
    definition.lock_path.write_bytes(lock.to_bytes())


def write_indexes(factory: Factory, lock: Lock, **more: bytes) -> None:
    indexes = {
        "apt/debian/dists/bookworm/Release": b"Suite: bookworm\n",
        "apt/debian/dists/bookworm/main/binary-amd64/Packages": b"".join(
            f"Package: {one.name}\nFilename: {store_path(one.sha256, one.file)}\n\n".encode()
            for one in lock.artifacts
            if one.kind == "deb"
        ),
        "pypi/simple/index.html": b"<html></html>\n",
        "files.json": json.dumps(
            {
                f"sources/{one.file}": {"sha256": one.sha256, "size": one.size, "file": one.file}
                for one in lock.artifacts
            }
        ).encode(),
    } | more
    for name, data in indexes.items():
        path = factory.indexes / lock.digest / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def make_site(root: Path, text: str = "") -> Site:
    """A site with a directory store below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "site.toml").write_text('name = "test"\n' + text)
    return load_site(root)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``: relative path → bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def manifest_of(bundle: Path) -> Manifest:
    return read_manifest((bundle / names.MANIFEST).read_bytes())


def forge(bundle: Path, entries: list[FileEntry] | None = None, /, **changes: object) -> str:
    """Rewrite a bundle's manifest (and all that hangs on it) as someone would who can compute sums; its new digest.

    Args:
        entries: a new CONTENT.jsonl.
        changes: fields of the manifest in place of what follows from the files on the media.
    """
    if entries is not None:
        (bundle / names.CONTENT).write_bytes(content_bytes(entries))
    on_media = tree(bundle)
    content = [msgspec.json.decode(line, type=FileEntry) for line in on_media[names.CONTENT].splitlines()]
    derived = {
        "files": [
            FileEntry(path, sha256_bytes(data), len(data))
            for path, data in sorted(on_media.items())
            if path not in (names.MANIFEST, names.SUMS) and not path.startswith("pool/")
        ],
        "content_digest": sha256_bytes(on_media[names.CONTENT]),
        "content": {"files": len(content), "size": sum(entry.size for entry in content)},
        "lock": sha256_bytes(on_media[names.LOCK]),
    }
    manifest = json.loads(on_media[names.MANIFEST]) | derived | changes
    document = canonical_line(manifest)
    (bundle / names.MANIFEST).write_bytes(document)
    files = msgspec.convert(msgspec.to_builtins(manifest["files"]), list[FileEntry])
    (bundle / names.SUMS).write_bytes(sums_bytes(document, files, content))
    return sha256_bytes(document)


def make_wheel(file: str, files: dict[str, str], metadata: str = "", entry_points: str = "") -> bytes:
    """A wheel (PEP 427) of these modules."""
    name, version, *_ = file.split("-")
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if entry_points:
        files[f"{info}/entry_points.txt"] = entry_points
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in (files | {f"{info}/RECORD": record + f"{info}/RECORD,,\n"}).items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return target.getvalue()
