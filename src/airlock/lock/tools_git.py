"""Kolla from its git repository: a wheel built, in the sandbox, of the commit that the lock names."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from airlock.core.errors import IntegrityError, ResolutionError
from airlock.core.git import Git
from airlock.fetch.upstreams import PYPI
from airlock.fetch.witness import Witness
from airlock.lock.git_bundle import open_git_bundle
from airlock.lock.git_repositories import KOLLA
from airlock.lock.model import Artifact, artifact_id
from airlock.lock.python_build import Unpacked, build_wheel, hook_requirements, read_build_system_of_folder
from airlock.lock.python_compile import Compiler, Question
from airlock.lock.python_files import Target, file_artifact
from airlock.lock.tools_wheel import normalised
from airlock.store.pool import Pool

KEPT = "tools/kolla-git"


async def kolla_from_git(
    bundle: Artifact, witness: Witness, pool: Pool, compiler: Compiler, target: Target, work: Path
) -> Artifact:
    """The wheel of a commit; when solving again, and for further architectures: the one that was built then.

    Args:
        bundle: Kolla's repository, as ``lock.git_repositories`` answers for it.
        work: is emptied.

    Raises:
        ResolutionError: no version tag leads to the commit, or what it holds does not build.
        IntegrityError: the pool's bundle is not whole.
    """
    kept = f"{KEPT}/{bundle.version}"
    try:
        return msgspec.json.decode(witness.kept(kept), type=Artifact)
    except IntegrityError:
        pass  # the first solving
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    where = f"kolla at {bundle.version[:12]}"
    git = open_git_bundle(pool.path(bundle.sha256), bundle.version, work / "repository.git", where)
    environment = {
        "SOURCE_DATE_EPOCH": git("show", "--no-patch", "--format=%ct", bundle.version),
        "PBR_VERSION": _version(git, bundle.version, where),
        "SKIP_GENERATE_AUTHORS": "1",
        "SKIP_WRITE_GIT_CHANGELOG": "1",
    }
    folder = work / "checkout"
    git("clone", "--quiet", "--template=", "--branch", "airlock", "--", str(git.folder), str(folder))
    made = _made(pool, *await _wheel(folder, where, environment, witness, compiler, target, work))
    witness.keep(kept, msgspec.json.encode(made))
    return made


def _version(git: Git, commit: str, where: str) -> str:
    """As pbr counts: the tag's own version on a tag, else the next patch release's ``.dev`` with the commits since."""
    said = git.ask("describe", "--tags", "--long", "--match", "[0-9]*", commit)
    if not said.ok:
        raise ResolutionError(
            f"{where}: no version's tag leads to it: {said.words}", remedy="pbr takes Kolla's version from its tags."
        )
    tag, count, _ = said.text.rsplit("-", 2)
    try:
        version = Version(tag)
    except InvalidVersion:
        raise ResolutionError(f"{where}: its latest tag {tag!r} is no version") from None
    if count == "0":
        return str(version)
    if version.is_prerelease:
        return f"{version}.dev{count}"
    major, minor, patch = (*version.release, 0, 0)[:3]
    return f"{major}.{minor}.{patch + 1}.dev{count}"


async def _wheel(
    folder: Path,
    where: str,
    environment: dict[str, str],
    witness: Witness,
    compiler: Compiler,
    target: Target,
    work: Path,
) -> tuple[str, bytes]:
    """(file name, bytes) of the wheel, built in the sandbox in an environment of wheels from the index."""
    system = read_build_system_of_folder(folder, where)

    async def wheels(requirements: tuple[str, ...]) -> list[tuple[str, Path]]:
        versions = await compiler.versions(Question(requirements=requirements, wheels_only=True), where)
        files = [await file_artifact(witness, PYPI, name, one, target, where) for name, one in sorted(versions.items())]
        return [(one.file, await witness.project_file(PYPI, one.name, one.file, one.sha256)) for one in files]

    unpacked = Unpacked(work / "unpacked", target.minor)
    static = await wheels(system.requires)
    more = await hook_requirements(folder, KOLLA, system, static, unpacked)
    isolated = await wheels((*system.requires, *more)) if more else static
    out = work / "wheel"
    out.mkdir()
    words = await build_wheel(folder, system, isolated, out, unpacked, environment=environment)
    built = [path for path in out.glob("*.whl") if path.is_file() and not path.is_symlink()]
    if len(built) != 1:
        raise ResolutionError(
            f"{where}: its wheel does not build: {words}", remedy='Take another ref, or a release: source = "pypi".'
        )
    return built[0].name, normalised(built[0].read_bytes())


def _made(pool: Pool, file: str, data: bytes) -> Artifact:
    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        raise ResolutionError(f"building Kolla gave a file with a strange name: {error}") from None
    return Artifact(
        id=artifact_id("wheel", file),
        kind="wheel",
        name=str(name),
        version=str(version),
        arch="any",
        file=file,
        sha256=pool.add_bytes(data),
        size=len(data),
        upstream="airlock",
        path=file,
        trust="made",
    )
