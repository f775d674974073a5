"""Kind ``git-clone``: repositories that a RUN clones, each as a pack of one history (docs/ecosystems/git.md)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import msgspec

from airlock.core.errors import IntegrityError, ResolutionError, UnclassifiedError, UpstreamError
from airlock.core.git import Git, GitServer
from airlock.fetch.http import shown
from airlock.kolla.reading.model import GitClone
from airlock.lock.demands import CLONE, clone_spec
from airlock.lock.ecosystem import Answers, Ground, RoomIndex
from airlock.lock.git_bundle import BRANCH, HEADS, TAGS, tidy
from airlock.lock.model import Artifact, Demand, Kind, artifact_id
from airlock.lock.sources_names import split_address

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_SYMBOLIC = re.compile(r"ref: (refs/heads/\S+)\tHEAD")


class Repository(msgspec.Struct, frozen=True):
    """One that was cloned.

    Attributes:
        artifacts: its pack and the pack's index.
        name: the last part of its address, which names the folder that a clone makes.
        head: the branch that a clone checks out; ``refs``: full names of branches and tags → ids.
    """

    artifacts: tuple[Artifact, Artifact]
    name: str
    head: str
    refs: dict[str, str]


class GitClones:
    """See ``Ecosystem``. There is no index to name: each address stands in the Dockerfile."""

    kind: Kind = CLONE
    upstream = ""

    async def resolve(self, ground: Ground) -> Answers:
        """See ``Ecosystem``."""
        demands: list[Demand] = []
        artifacts: dict[str, Artifact] = {}
        upstreams: dict[str, str] = {}
        facts: dict[str, Any] = {}
        seen: dict[tuple[str, str], str] = {}
        for demand in (one for one in ground.gathered.demands if one.kind == CLONE):
            with ground.shortfall.of(demand.image):
                _refuse_shallow(ground, demand)
                url = demand.spec.partition(" @ ")[0]
                if seen.setdefault((demand.image, url), demand.spec) != demand.spec:
                    raise ResolutionError(f"{demand.where}: {shown(url)} is cloned twice, at two branches", remedy=_ONE)
                name, address, _ = clone_place(demand.spec)
                upstreams[name] = address
                found = await _repository(ground, demand)
                artifacts |= {one.id: one for one in found.artifacts}
                about = {"name": found.name, "head": found.head, "refs": found.refs}
                facts |= {one.id: about for one in found.artifacts}
                idents = tuple(sorted(one.id for one in found.artifacts))
                demands.append(msgspec.structs.replace(demand, artifacts=idents))
        return Answers(tuple(demands), tuple(artifacts.values()), upstreams, facts)

    def index(self, artifacts: Sequence[Artifact], facts: Mapping[str, Any], address: str) -> RoomIndex:
        """The repository as a plain web server has it (gitrepository-layout(5), ``git update-server-info``)."""
        about = facts[artifacts[0].id]
        name = about["name"]
        pack = next(artifact.file for artifact in artifacts if artifact.file.endswith(".pack"))
        refs = "".join(f"{ident}\t{ref}\n" for ref, ident in sorted(about["refs"].items()))
        pages = {
            f"{name}/HEAD": f"ref: {about['head']}\n".encode(),
            f"{name}/info/refs": refs.encode(),
            f"{name}/objects/info/packs": f"P {pack}\n\n".encode(),
        }
        return RoomIndex(pages, {f"{name}/objects/pack/{artifact.file}": artifact for artifact in artifacts})


_ONE = "Clone it once, by a template override."


def clone_place(spec: str) -> tuple[str, str, str]:
    """(upstream's name, its address, path) of a clone."""
    return split_address(spec.partition(" @ ")[0], "")


def _refuse_shallow(ground: Ground, demand: Demand) -> None:
    """A plain web server cannot give a part of a history."""
    for command in ground.gathered.readings[demand.image].commands:
        if isinstance(command.detail, GitClone) and clone_spec(command.detail) == demand.spec:
            if any(word.startswith("--depth") for word in command.argv):
                raise UnclassifiedError(
                    f"{demand.where}: a shallow clone of {shown(command.detail.url)} cannot be served in the room",
                    remedy="Leave --depth out, by a template override.",
                )
            if not command.detail.url.startswith(("http://", "https://")):
                raise UnclassifiedError(
                    f"{demand.where}: {shown(command.detail.url)} is neither http nor https",
                    remedy="Clone it by https, by a template override.",
                )


async def _repository(ground: Ground, demand: Demand) -> Repository:
    kept = f"{CLONE}/{demand.spec}"
    if ground.witness.live:
        found = await asyncio.to_thread(_fetch, ground, demand)
        ground.witness.keep(kept, msgspec.json.encode(found))
        return found
    try:
        return msgspec.json.decode(ground.witness.kept(kept), type=Repository)
    except IntegrityError:
        raise ResolutionError(
            f"{demand.where}: {demand.spec} was not read when this was locked", remedy="Run `airlock lock`."
        ) from None


def _fetch(ground: Ground, demand: Demand) -> Repository:
    upstream, default, path = clone_place(demand.spec)
    url, _, branch = demand.spec.partition(" @ ")
    name = url.rstrip("/").rpartition("/")[2]
    if not _NAME.fullmatch(name) or (branch and not _REF.fullmatch(branch)) or ".." in branch:
        raise ResolutionError(f"{demand.where}: {shown(url)} {branch!r} has a name that no repository or branch has")
    address = ground.addresses.get(upstream, default).rstrip("/")
    server = GitServer.of(f"{address}/{quote(path)}")
    where = f"{demand.where}: git repository {shown(server.url)}"
    with TemporaryDirectory(prefix="airlock-clone-") as folder:
        git = Git(Path(folder) / "repository.git")
        git.init()
        head, ref = _find(git, server, branch, where)
        commit = git.object(ref)
        tidy(git, commit, head, where)  # BRANCH is the commit from here on
        (pack,) = (git.folder / "objects/pack").glob("pack-*.pack")
        made = [_artifact(ground, file, commit, upstream) for file in (pack, pack.with_suffix(".idx"))]
        return Repository((made[0], made[1]), name, head, git.refs(head, TAGS) | {head: commit})


def _find(git: Git, server: GitServer, branch: str, where: str) -> tuple[str, str]:
    """(branch that HEAD is to be, ref that leads to its commit here), full names, with its history fetched."""
    if branch:
        tries = [f"{HEADS}{branch}", f"{TAGS}{branch}"]
    else:
        said = git.ask("ls-remote", "--symref", "--", server.url, "HEAD", server=server)
        match = _SYMBOLIC.search(said.text)
        if not said.ok or match is None:
            raise UpstreamError(f"{where} cannot be read: {said.words or 'it has no branch'}")
        tries = [match[1]]
    for ref in tries:
        said = git.ask("fetch", "--quiet", "--", server.url, f"+{ref}:{ref}", server=server)
        if said.ok and git.object(ref):
            return (ref if ref.startswith(HEADS) else BRANCH), ref
        if not said.ok and "couldn't find remote ref" not in said.words:
            raise UpstreamError(f"{where} cannot be fetched: {said.words}")
    raise ResolutionError(f"{where} has no branch or tag {branch}", remedy="Name another one by a template override.")


def _artifact(ground: Ground, path: Path, commit: str, upstream: str) -> Artifact:
    """A file of the repository, called as git calls it: after the objects in it."""
    sha256, size = ground.pool.add_file(path)
    return Artifact(
        id=artifact_id("git-pack", path.name),
        kind="git-pack",
        name=upstream,
        version=commit,
        arch="any",
        file=path.name,
        sha256=sha256,
        size=size,
        upstream="airlock",
        path=path.name,
        trust="made",
    )
