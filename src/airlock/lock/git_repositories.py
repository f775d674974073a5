"""Kind ``git``: the repositories that a definition names, each as a bundle of one commit's history."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from airlock.core.errors import IntegrityError, ResolutionError, UpstreamError, UsageError
from airlock.core.git import TOO_LARGE, Git, GitServer
from airlock.core.settings import UpstreamTable
from airlock.definition.model import Definition
from airlock.fetch.http import shown
from airlock.fetch.witness import Witness
from airlock.lock.git_bundle import HEADS, TAGS, write_git_bundle
from airlock.lock.model import Artifact, Demand, Lock, artifact_id
from airlock.store.pool import Pool

KOLLA = "kolla"
"""Kolla's own repository, where a definition takes Kolla from git."""
KEPT = "git"
"""Where answers of git repositories are kept: ``git/<name>/<ref>``."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}\Z")


def wanted_repositories(definition: Definition) -> dict[str, str]:
    """Name → branch, tag or commit, sorted."""
    kolla = {KOLLA: definition.kolla.ref} if definition.kolla.source == "git" else {}
    return dict(sorted((kolla | {name: table.ref for name, table in definition.git.items()}).items()))


def repository_demands(definition: Definition) -> list[Demand]:
    """The ``git`` demands of a definition, without answers."""
    return [Demand("any", "", 0, "git", f"{name} @ {ref}") for name, ref in wanted_repositories(definition).items()]


def locked_repositories(lock: Lock) -> dict[str, tuple[str, Artifact]]:
    """Name → (ref that was asked for, the bundle of the commit it was)."""
    by_id = lock.by_id
    found: dict[str, tuple[str, Artifact]] = {}
    for demand in lock.demands:
        if demand.kind == "git":
            name, _, ref = demand.spec.partition(" @ ")
            for ident in demand.artifacts:
                if ident in by_id:
                    found[name] = (ref, by_id[ident])
    return found


async def resolve_repositories(
    definition: Definition, upstreams: Mapping[str, UpstreamTable], witness: Witness, pool: Pool, work: Path
) -> dict[str, tuple[Demand, Artifact]]:
    """Fetch them; when solving again: what was fetched then.

    Args:
        upstreams: those that the factory's settings name; a repository's is called like itself.
        work: a folder of ours below it is emptied.

    Raises:
        UsageError: the settings do not say where a repository is.
        UpstreamError: it cannot be read.
        ResolutionError: it has no such ref, or what it holds is not sound.
    """
    found: dict[str, tuple[Demand, Artifact]] = {}
    for demand, (name, ref) in zip(
        repository_demands(definition), wanted_repositories(definition).items(), strict=True
    ):
        kept = f"{KEPT}/{name}/{ref}"
        if witness.live and not witness.holds(kept):
            folder = work / f"git-{name}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            artifact = await asyncio.to_thread(_fetch, name, ref, upstreams, pool, folder)
            witness.keep(kept, msgspec.json.encode(artifact))
            shutil.rmtree(folder)
        else:
            artifact = _kept(witness, kept, demand)
        found[name] = (msgspec.structs.replace(demand, artifacts=(artifact.id,)), artifact)
    return found


def _kept(witness: Witness, name: str, demand: Demand) -> Artifact:
    try:
        return msgspec.json.decode(witness.kept(name), type=Artifact)
    except IntegrityError:
        raise ResolutionError(
            f"the git repository {demand.spec} was not read when this was locked", remedy="Run `airlock lock`."
        ) from None


def _fetch(name: str, ref: str, upstreams: Mapping[str, UpstreamTable], pool: Pool, folder: Path) -> Artifact:
    if name not in upstreams:
        raise UsageError(
            f"the definition names the git repository {name}, and no address of it is known",
            remedy=f"Name it in factory.toml: [upstreams.{name}] address = …",
        )
    git = Git(folder / "repository.git")
    git.init()
    commit, branch = _find(git, name, ref, upstreams[name].address)
    where = f"git repository {name} at {ref}"
    written = folder / "bundle"
    write_git_bundle(git, commit, branch, written, where)
    sha256, size = pool.add_file(written)
    file = f"{name}-{commit[:12]}.bundle"
    return Artifact(
        id=artifact_id("git", file),
        kind="git",
        name=name,
        version=commit,
        arch="any",
        file=file,
        sha256=sha256,
        size=size,
        upstream="airlock",
        path=file,
        trust="made",
    )


def _find(git: Git, name: str, ref: str, address: str) -> tuple[str, str]:
    """(commit, full name of the branch it was found at or nothing), with its whole history fetched."""
    server = GitServer.of(address)
    branch, tag = f"{HEADS}{ref}", f"{TAGS}{ref}"
    tries: list[tuple[str, str, tuple[str, ...]]] = [
        (branch, branch, (f"+{branch}:{branch}",)),
        (tag, "", (f"+{tag}:{tag}",)),
    ]
    if _COMMIT.match(ref):
        tries.append((ref, "", (f"+{HEADS}*:{HEADS}*", f"+{TAGS}*:{TAGS}*")))
    for found, at, refspecs in tries:
        said = git.ask("fetch", "--quiet", "--", server.url, *refspecs, server=server)
        if said.ok and (commit := git.object(found)):
            return commit, at
        if not said.ok and "couldn't find remote ref" not in said.words:
            raise _unreadable(name, address, said.words)
    raise ResolutionError(
        f"the git repository {name} ({shown(address)}) has no branch, tag or commit {ref}",
        remedy=f"Correct {'kolla' if name == KOLLA else f'git.{name}'}.ref in the release definition.",
    )


def _unreadable(name: str, address: str, words: str) -> UpstreamError:
    if TOO_LARGE in words:
        return UpstreamError(f"upstream {name}: {shown(address)} sends more than a bundle carries")
    return UpstreamError(
        f"upstream {name}: git cannot fetch {shown(address)}: {words}",
        remedy=f"Check [upstreams.{name}] address in factory.toml, and that the repository is up.",
    )
