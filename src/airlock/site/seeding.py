"""The git repositories that a bundle carries, put into the site's Gerrit: beside what is there, never over it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from airlock.core.errors import AirlockError, IncompleteError, IntegrityError, StateError, UsageError
from airlock.core.git import Git
from airlock.core.process import find_tool
from airlock.core.progress import Reporter
from airlock.core.secrets import read_secret
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.gerrit.client import GerritClient
from airlock.gerrit.push import push
from airlock.lock.git_bundle import HEADS, TAGS, bundle_refs, open_git_bundle
from airlock.lock.git_repositories import locked_repositories
from airlock.lock.model import Artifact, Lock
from airlock.store.artifacts import ArtifactStore, store_path

VERB = "seed"
DEFAULT_BRANCH = "main"
"""The working branch of a repository whose ref is a tag or a commit."""


class Seeded(msgspec.Struct, frozen=True, kw_only=True):
    """One repository of a bundle in Gerrit, as it is now.

    Attributes:
        repository: its name in the definition.
        branch: the bundle's own, at ``commit``.
        made: the project was not there before.
        pushed: branches that were not there before.
        tags: how many tags were not there before.
        other_tags: tags that Gerrit has, and at something else than the bundle; they are left.
        working: the branch that people and Zuul work on.
        state: of the working branch: ``pushed`` now, ``there`` (at the commit), ``ahead`` (it has the commit, and
            more), or ``differs`` (it lacks the commit, and is left).
    """

    repository: str
    project: str
    commit: str
    branch: str
    made: bool
    pushed: tuple[str, ...]
    tags: int
    other_tags: tuple[str, ...]
    working: str
    state: Literal["pushed", "there", "ahead", "differs"]


class _There(msgspec.Struct, frozen=True):
    """What Gerrit has of one repository: the project, the commits of two branches, tags by their full names."""

    project: bool = False
    branch: str | None = None
    working: str | None = None
    tags: dict[str, str] = {}


def require_means(site: Site) -> None:
    """See, before any work, that a Gerrit can be spoken to as far as this machine decides it.

    Raises:
        UsageError: the password cannot be read.
        ToolError: git is not installed.
    """
    if site.gerrit is not None:
        read_secret(site.gerrit.password_file)
        find_tool("git", "git")


def seed(lock: Lock, ident: str, store: ArtifactStore, site: Site, reporter: Reporter) -> list[Seeded]:
    """Seed the site's Gerrit, if it has one, from the repositories of an imported bundle.

    What Gerrit has already is not sent again; killed at any moment, the same again finishes it. The caller sees to it
    that nobody else does this at the same time.

    Args:
        ident: the bundle's id, which names the branch.

    Raises:
        IncompleteError, IntegrityError: the store lost a git bundle, or it is not of the commit that the lock names, of
            which nothing was pushed then; IntegrityError also for a Gerrit that does not give back what it took.
        StateError: the bundle's branch is there, at another commit.
        UsageError: two repositories have one project; a password, a right or an address is wrong.
        UpstreamError: Gerrit cannot be reached, or breaks off.
    """
    repositories = locked_repositories(lock)
    if site.gerrit is None or not repositories:
        return []
    projects: dict[str, str] = {}
    for name in repositories:
        project = site.gerrit.project(name)
        if (other := projects.setdefault(project, name)) != name:
            raise UsageError(
                f"the repositories {other} and {name} of {ident} have one project in Gerrit: {project}",
                remedy="Give each its own under [gerrit.projects] in site.toml.",
            )
    try:
        return asyncio.run(_seed(repositories, ident, store, site, reporter))
    except AirlockError as error:
        again = f"{ident} is in the store; the same import again seeds what Gerrit lacks."
        raise type(error)(error.message, remedy=f"{error.remedy} {again}".lstrip()) from None


async def _seed(
    repositories: Mapping[str, tuple[str, Artifact]], ident: str, store: ArtifactStore, site: Site, reporter: Reporter
) -> list[Seeded]:
    assert site.gerrit is not None
    found = []
    async with GerritClient(site.gerrit) as client:
        await client.account()  # says at once what is wrong with address or password
        with reporter.task("git repositories into Gerrit", len(repositories), unit="items") as task:
            for name, (ref, artifact) in repositories.items():
                with _scratch(site.state / "seeding") as folder:
                    found.append(await _Repository(client, site, ident, name, ref, artifact).seed(store, folder))
                task.advance(1, name)
    return found


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder, whatever a killed run left there, that goes afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Repository:
    """One repository on its way into Gerrit.

    Args:
        ref: what the definition names.
    """

    def __init__(self, client: GerritClient, site: Site, ident: str, name: str, ref: str, artifact: Artifact) -> None:
        self._client, self._site, self._ident = client, site, ident
        self._name, self._ref, self._artifact = name, ref, artifact
        self._commit = artifact.version
        self._project = client.place.project(name)
        self._branch = f"bundle/{ident}"
        self._where = f"{artifact.id} of {ident}"

    async def seed(self, store: ArtifactStore, folder: Path) -> Seeded:
        """Bring into Gerrit what it lacks, and see that it is there."""
        file = folder / "bundle"
        await asyncio.to_thread(self._fetch, store, file)
        listing = Git(folder / "listing.git")
        listing.init()
        refs = bundle_refs(listing, file, self._commit, self._where)
        working = self._ref if f"{HEADS}{self._ref}" in refs else DEFAULT_BRANCH
        tags = {ref: ident for ref, ident in refs.items() if ref.startswith(TAGS)}
        before = await self._look(working)
        branches, lacking = self._lacking(before, working, tags)
        after = before
        if branches or lacking:
            git = await asyncio.to_thread(open_git_bundle, file, self._commit, folder / "repository.git", self._where)
            self._note(before, branches, lacking)
            if not before.project:
                await self._client.create_project(self._project, working)
            after = await self._push(git, working, branches, lacking)
        return Seeded(
            repository=self._name,
            project=self._project,
            commit=self._commit,
            branch=self._branch,
            made=not before.project,
            pushed=tuple(ref.removeprefix(HEADS) for ref in branches),
            tags=len(lacking),
            other_tags=tuple(sorted(ref.removeprefix(TAGS) for ref in tags if after.tags[ref] != tags[ref])),
            working=working,
            state="pushed" if f"{HEADS}{working}" in branches else await self._state(after.working, working),
        )

    def _fetch(self, store: ArtifactStore, file: Path) -> None:
        artifact = self._artifact
        place = store_path(artifact.sha256, artifact.file)
        try:
            store.fetch(place, file, sha256=artifact.sha256, size=artifact.size)
        except FileNotFoundError:
            raise IncompleteError(f"the store has lost {place}", remedy="Check its disk.") from None

    async def _look(self, working: str) -> _There:
        client, project = self._client, self._project
        if not await client.has_project(project):
            return _There()
        branch = await client.branch(project, self._branch)
        if branch not in (None, self._commit):
            raise StateError(
                f"{self._branch} of {project} in Gerrit is at {branch}; {self._ident} has {self._name} at "
                f"{self._commit}",
                remedy="Nothing was pushed over it. Find out who made that branch; an id is never used for two things.",
            )
        return _There(True, branch, await client.branch(project, working), await client.tags(project))

    def _lacking(self, there: _There, working: str, tags: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """(branches, tags) that Gerrit has not, by full name, with what they point at."""
        commits = {self._branch: there.branch, working: there.working}
        branches = {f"{HEADS}{name}": self._commit for name, commit in commits.items() if commit is None}
        return branches, {ref: ident for ref, ident in tags.items() if ref not in there.tags}

    def _note(self, there: _There, branches: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Into the ledger, before: nothing is pushed that it does not know."""
        facts = {
            "id": self._ident,
            "repository": self._name,
            "project": self._project,
            "makes": not there.project,
            "commit": self._commit,
            "branches": [ref.removeprefix(HEADS) for ref in branches],
            "tags": [ref.removeprefix(TAGS) for ref in tags],
        }
        ledger.append(self._site.ledger, VERB, facts)

    async def _push(self, git: Git, working: str, branches: Mapping[str, str], tags: Mapping[str, str]) -> _There:
        """Push, and read back what Gerrit has then."""
        place, project = self._client.place, self._project
        try:
            if branches:  # a history of any length, with whatever names and dates it has
                await asyncio.to_thread(push, place, project, git, branches, validate=False)
            if tags:
                await asyncio.to_thread(push, place, project, git, tags)
        except AirlockError:
            # What a run that was killed had sent may have come through meanwhile.
            there = await self._look(working)
            if any(self._lacking(there, working, tags)):
                raise
            return there
        there = await self._look(working)
        if lost := [ref for refs in self._lacking(there, working, tags) for ref in refs]:
            raise IntegrityError(
                f"Gerrit does not give back what was pushed to {project}: {', '.join(lost[:5])}",
                remedy=f"May user {place.user} read refs/* there? See Gerrit's error_log.",
            )
        return there

    async def _state(self, commit: str | None, working: str) -> Literal["there", "ahead", "differs"]:
        if commit == self._commit:
            return "there"
        return "ahead" if working in await self._client.branches_with(self._project, self._commit) else "differs"
