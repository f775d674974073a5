"""Questions to a lock alone: what an image takes from outside, and who asks for a file, through which chain."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from airlock.core.errors import UsageError
from airlock.lock.model import Artifact, Demand, Image, Lock
from airlock.lock.survey import Key, Totals, ancestry, parents_of, survey

SHOWN = 5
_PREFIX = re.compile(r"[0-9a-f]{6,64}\Z")


class Answered(msgspec.Struct, frozen=True):
    """One demand with what answers it; ``size`` in bytes, ``lacking`` ids that the lock does not have."""

    line: int
    kind: str
    spec: str
    note: str
    size: int
    artifacts: tuple[Artifact, ...]
    lacking: tuple[str, ...] = ()


class Ancestor(msgspec.Struct, frozen=True):
    """One image of a chain, and what it brings itself."""

    name: str
    own: Totals


class Explanation(msgspec.Struct, frozen=True):
    """One image of one architecture.

    Attributes:
        chain: its ancestors, the parent first.
        children: images built directly on it.
        own, whole: what answers its own demands; that and its ancestors' (files, bytes).
        kinds: ``own`` by kind of artifact.
        stand_ins: upstreams that imitate a real one and that it, or an ancestor, takes from.
        demands: its own, in the order of the Dockerfile.
    """

    image: Image
    chain: tuple[Ancestor, ...]
    children: tuple[str, ...]
    own: Totals
    whole: Totals
    kinds: dict[str, Totals]
    stand_ins: tuple[str, ...]
    demands: tuple[Answered, ...]


class Asker(msgspec.Struct, frozen=True):
    """One demand that an artifact answers.

    Attributes:
        arch, image: who asks; no image for tools and git repositories.
        chain: the image's ancestors, the parent first.
        built_on: images that have it because they are built on that one.
        named: whether the command names it; otherwise it follows from what is named.
        through: for what builds an sdist, the pip command that asks for the sdist.
    """

    arch: str
    image: str
    chain: tuple[str, ...]
    built_on: tuple[str, ...]
    line: int
    kind: str
    spec: str
    note: str
    named: bool
    through: str = ""


class Why(msgspec.Struct, frozen=True):
    """An artifact and who asks for it; ``images`` counts those that have it, themselves or from an ancestor."""

    artifact: Artifact
    images: int
    asked: tuple[Asker, ...]


def explain(lock: Lock, name: str, stand_ins: Mapping[str, Mapping[str, tuple[str, ...]]]) -> list[Explanation]:
    """What is known of an image, once an architecture.

    Args:
        stand_ins: architecture → image → stand-ins (``Proven.against``).

    Raises:
        UsageError: the lock has no such image; with the nearest names.
    """
    found = [image for image in lock.images if image.name == name]
    if not found:
        known = sorted({image.name for image in lock.images})
        raise UsageError(
            f"the lock has no image {name!r}", remedy=_nearest(name, known, "`airlock validate` lists them.")
        )
    facts, by_id = {image.key: image for image in survey(lock).images}, lock.by_id
    explained = []
    for image in found:
        own = facts[image.key]
        explained.append(
            Explanation(
                image=image,
                chain=tuple(Ancestor(one, facts[image.arch, one].own) for one in own.chain),
                children=own.children,
                own=own.own,
                whole=own.whole,
                kinds=own.kinds,
                stand_ins=stand_ins.get(image.arch, {}).get(name, ()),
                demands=tuple(
                    _answered(demand, by_id) for demand in lock.demands if (demand.arch, demand.image) == image.key
                ),
            )
        )
    return explained


def _answered(demand: Demand, by_id: Mapping[str, Artifact]) -> Answered:
    artifacts = tuple(by_id[ident] for ident in demand.artifacts if ident in by_id)
    lacking = tuple(ident for ident in demand.artifacts if ident not in by_id)
    size = sum(artifact.size for artifact in artifacts)
    return Answered(demand.line, demand.kind, demand.spec, demand.note, size, artifacts, lacking)


def find_artifacts(lock: Lock, words: str) -> list[Artifact]:
    """What someone may mean by an id, a file's name, a sha256 or its beginning, or the name of a package or project.

    Returns:
        One, or several where the words are not enough to tell.

    Raises:
        UsageError: nothing fits; with the nearest names.
    """
    digest = words.lower().removeprefix("sha256:")
    project = re.sub(r"[-_.]+", "-", words).lower()
    tests: tuple[Callable[[Artifact], bool], ...] = (
        lambda found: found.id == words,
        lambda found: found.file == words,
        lambda found: bool(_PREFIX.match(digest)) and found.sha256.startswith(digest),
        lambda found: found.name == words or found.name == project,
    )
    for fits in tests:
        if found := [artifact for artifact in lock.artifacts if fits(artifact)]:
            return found
    known = sorted({name for artifact in lock.artifacts for name in (artifact.name, artifact.file)})
    raise UsageError(
        f"nothing in the lock is called {words!r}",
        remedy=_nearest(words, known, "Ask by id, file name, package name, or the first digits of its sha256."),
    )


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    close = difflib.get_close_matches(name, list(known), n=SHOWN, cutoff=0.6)
    return f"Nearest: {', '.join(close)}." if close else otherwise


def why(lock: Lock, artifact: Artifact) -> Why:
    """Who asks for an artifact."""
    parents = parents_of(lock)
    lines = {key: tuple(ancestry(parents, key)) for key in parents}
    asked: list[Asker] = []
    having: set[Key] = set()
    for demand in lock.demands:
        if artifact.id not in demand.artifacts:
            continue
        key = (demand.arch, demand.image)
        built_on = sorted(other for other, line in lines.items() if other != key and key in line)
        having |= {key, *built_on} if demand.image else set()
        asked.append(
            Asker(
                arch=demand.arch,
                image=demand.image,
                chain=tuple(name for _, name in lines.get(key, ())[1:]),
                built_on=tuple(name for _, name in built_on),
                line=demand.line,
                kind=demand.kind,
                spec=demand.spec,
                note=demand.note,
                named=_named(artifact, demand),
                through=_through(lock, demand),
            )
        )
    return Why(artifact, len(having), tuple(asked))


def _named(artifact: Artifact, demand: Demand) -> bool:
    """Whether a command's own words name it; what follows from a file that pip reads does not count as named."""
    if demand.kind not in ("apt", "python", "tool"):
        return demand.kind != "python-build" and demand.kind != "base-image"
    names = {re.split(r"[=<>!~\[;@:/]", word)[0] for word in demand.spec.split() if not word.startswith("-")}
    return artifact.name in names | {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def _through(lock: Lock, demand: Demand) -> str:
    if demand.kind != "python-build":
        return ""
    sdists = {artifact.id for artifact in lock.artifacts if artifact.file == demand.spec}
    for other in lock.demands:
        if (
            other.kind == "python"
            and (other.arch, other.image, other.line) == (demand.arch, demand.image, demand.line)
            and sdists & set(other.artifacts)
        ):
            return other.spec
    return ""
