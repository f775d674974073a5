"""Kolla from a git repository: the commit behind a ref, a wheel built of it in the sandbox, a bundle of its history."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import msgspec
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from airlock.core.errors import IntegrityError, ResolutionError, UpstreamError, UsageError
from airlock.core.process import clean_environment, find_tool, last_lines, run
from airlock.definition.model import LoadedDefinition
from airlock.fetch.http import shown
from airlock.fetch.upstreams import PYPI
from airlock.fetch.witness import Witness
from airlock.lock.model import Artifact, ArtifactKind, artifact_id
from airlock.lock.python_build import build_wheel, hook_requirements, read_build_system_of_folder
from airlock.lock.python_compile import Compiler, Question
from airlock.lock.python_files import Target, file_artifact
from airlock.lock.tools_wheel import normalised
from airlock.store.pool import Pool

KOLLA = "kolla"
"""The project, and the upstream whose address is its repository."""
_KEPT = "tools/kolla-git"
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*\Z")
_TIMEOUT = 1800.0


class KollaFromGit(msgspec.Struct, frozen=True):
    """What was made of a ref."""

    commit: str
    wheel: Artifact
    bundle: Artifact


async def kolla_from_git(
    loaded: LoadedDefinition,
    repository: str,
    witness: Witness,
    pool: Pool,
    compiler: Compiler,
    target: Target,
    work: Path,
) -> KollaFromGit:
    """Fetch, bundle and build; when solving again: what was made then.

    Raises:
        UsageError: no repository is named, or the ref cannot be one.
        UpstreamError: the repository cannot be read.
        ResolutionError: it has no such ref, or what it holds does not build.
    """
    ref = loaded.definition.kolla.ref
    name = f"{_KEPT}/{ref}"
    try:
        return msgspec.json.decode(witness.kept(name), type=KollaFromGit)
    except IntegrityError:
        pass  # the first solving
    if not repository:
        raise UsageError(
            'the definition takes Kolla from git (kolla.source = "git"), but no repository is known',
            remedy="Name it in factory.toml: [upstreams.kolla] address = …",
        )
    if not _REF.match(ref):
        raise UsageError(f"kolla.ref {ref!r} cannot name a branch, tag or commit", remedy="Correct the definition.")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    checkout = await asyncio.to_thread(Checkout.make, repository, ref, work)
    where = f"kolla at {ref} ({checkout.commit[:12]})"
    wheel = await _wheel(checkout, where, witness, compiler, target, work)
    found = KollaFromGit(checkout.commit, _made(pool, "wheel", *wheel), _bundle(pool, checkout))
    witness.keep(name, msgspec.json.encode(found))
    return found


class Checkout(msgspec.Struct, frozen=True):
    """A commit, checked out.

    Attributes:
        folder: its files, with ``.git``.
        version: what pbr would call it: the tag, or the next patch release's ``.devN``.
        date: of the commit, in seconds.
        bundle: a git bundle of the commit's history, as ``refs/heads/airlock``, and its tags.
    """

    folder: Path
    commit: str
    version: str
    date: int
    bundle: Path

    @classmethod
    def make(cls, repository: str, ref: str, work: Path) -> Checkout:
        """Fetch all branches and tags of a repository into ``work``, check out one ref.

        Raises:
            UpstreamError, ResolutionError: see ``kolla_from_git``.
        """
        git = _Git(work / "repository.git")
        git("init", "--quiet", "--bare", str(git.folder), inside=False)
        refs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        result = git.attempt("fetch", "--quiet", "--no-auto-gc", "--", repository, *refs, network=True)
        if result:
            raise UpstreamError(
                f"upstream kolla: git cannot fetch {shown(repository)}: {result}",
                remedy="Check [upstreams.kolla] address in factory.toml, and that the repository is up.",
            )
        commit = _commit(git, ref)
        date = int(git("show", "--no-patch", "--format=%ct", commit))
        version = _version(git, commit, ref)
        git("update-ref", "refs/heads/airlock", commit)
        tags = git("tag", "--merged", commit).split()
        bundle = work / "kolla.bundle"
        git("-c", "pack.threads=1", "bundle", "create", "--quiet", str(bundle), "refs/heads/airlock", *tags)
        folder = work / "checkout"
        git("clone", "--quiet", "--branch", "airlock", "--", str(git.folder), str(folder), inside=False)
        return cls(folder, commit, version, date, bundle)


class _Git:
    """git on one repository, with nobody's configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = find_tool("git", "git")

    def _run(self, arguments: tuple[str, ...], *, network: bool, inside: bool) -> tuple[int, str, str]:
        own = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
        place = ["--git-dir", str(self.folder)] if inside else []
        options = ["-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *place]
        environment = clean_environment(network=network) | own
        result = run([self._program, *options, *arguments], env=environment, timeout=_TIMEOUT)
        return result.returncode, result.stdout.decode("utf-8", "replace").strip(), last_lines(result, 3)

    def attempt(self, *arguments: str, network: bool = False) -> str:
        """Run; returns what went wrong, or nothing."""
        code, _, words = self._run(arguments, network=network, inside=True)
        return words or f"exit status {code}" if code else ""

    def commit(self, name: str) -> str:
        """The commit that a name leads to, or nothing."""
        arguments = ("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        code, text, _ = self._run(arguments, network=False, inside=True)
        return "" if code else text

    def __call__(self, *arguments: str, inside: bool = True) -> str:
        """Run and return what it said."""
        code, text, words = self._run(arguments, network=False, inside=inside)
        if code:
            raise ResolutionError(f"git {arguments[0]} of Kolla's repository failed: {words}")
        return text


def _commit(git: _Git, ref: str) -> str:
    for name in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
        if found := git.commit(name):
            return found
    raise ResolutionError(
        f"Kolla's repository has no branch, tag or commit {ref}", remedy="Correct kolla.ref in the release definition."
    )


def _version(git: _Git, commit: str, ref: str) -> str:
    """As pbr counts: the tag's own version on a tag, else the next patch release's ``.dev`` with the commits since."""
    words = git("describe", "--tags", "--long", "--match", "[0-9]*", commit)
    tag, count, _ = words.rsplit("-", 2)
    try:
        version = Version(tag)
    except InvalidVersion:
        raise ResolutionError(f"kolla at {ref}: its latest tag {tag!r} is no version") from None
    if count == "0":
        return str(version)
    if version.is_prerelease:
        return f"{version}.dev{count}"
    major, minor, patch = (*version.release, 0, 0)[:3]
    return f"{major}.{minor}.{patch + 1}.dev{count}"


async def _wheel(
    checkout: Checkout, where: str, witness: Witness, compiler: Compiler, target: Target, work: Path
) -> tuple[str, bytes]:
    """(file name, bytes) of the wheel, built in the sandbox in an environment of wheels from the index."""
    system = read_build_system_of_folder(checkout.folder, where)
    environment = {
        "SOURCE_DATE_EPOCH": str(checkout.date),
        "PBR_VERSION": checkout.version,
        "SKIP_GENERATE_AUTHORS": "1",
        "SKIP_WRITE_GIT_CHANGELOG": "1",
    }

    async def wheels(requirements: tuple[str, ...]) -> list[tuple[str, Path]]:
        versions = await compiler.versions(Question(requirements=requirements, wheels_only=True), where)
        files = [await file_artifact(witness, PYPI, name, one, target, where) for name, one in sorted(versions.items())]
        return [(one.file, await witness.project_file(PYPI, one.name, one.file, one.sha256)) for one in files]

    static = await wheels(system.requires)
    more = await hook_requirements(checkout.folder, KOLLA, system, static, minor=target.minor)
    isolated = await wheels((*system.requires, *more)) if more else static
    out = work / "wheel"
    out.mkdir()
    words = await build_wheel(checkout.folder, system, isolated, out, minor=target.minor, environment=environment)
    built = [path for path in out.glob("*.whl") if path.is_file() and not path.is_symlink()]
    if len(built) != 1:
        raise ResolutionError(
            f"{where}: its wheel does not build: {words}", remedy='Take another ref, or a release: source = "pypi".'
        )
    return built[0].name, normalised(built[0].read_bytes())


def _made(pool: Pool, kind: ArtifactKind, file: str, data: bytes) -> Artifact:
    try:
        name, version, _, _ = parse_wheel_filename(file)
    except InvalidWheelFilename as error:
        raise ResolutionError(f"building Kolla gave a file with a strange name: {error}") from None
    return Artifact(
        id=artifact_id(kind, file),
        kind=kind,
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


def _bundle(pool: Pool, checkout: Checkout) -> Artifact:
    file = f"{KOLLA}-{checkout.commit[:12]}.bundle"
    sha256, size = pool.add_file(checkout.bundle)
    return Artifact(
        id=artifact_id("git", file),
        kind="git",
        name=KOLLA,
        version=checkout.commit,
        arch="any",
        file=file,
        sha256=sha256,
        size=size,
        upstream="airlock",
        path=file,
        trust="made",
    )
