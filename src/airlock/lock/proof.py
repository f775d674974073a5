"""The static proof of completeness: every demand of every image is classified, resolved and present.

A pure comparison of three things: what a fresh rendering and reading of Kolla asks for, what the lock says, what the
store holds. ``validate`` gathers them at the factory, ``build`` at the site.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from airlock.core.progress import Reporter
from airlock.lock.model import Artifact, Demand, Image, Lock

DERIVED = ("python-build", "tool")
"""Kinds of demand that no Dockerfile states: they follow from the answers of others."""

ANSWERED = (
    "base-image",
    "file",
    "galaxy",
    "gem",
    "git",
    "git-clone",
    "grafana-plugin",
    "key",
    "python",
    "source",
    "tool",
    "vendor-repository",
)
"""Kinds that no empty list of artifacts answers, but where a note says why (``_MAY_BE_NOTED``)."""
_MAY_BE_NOTED = ("python", "vendor-repository")
"""What a pip command asks for may be there; a repository may be left out by the definition."""

THREADS = 2


class Gap(msgspec.Struct, frozen=True, order=True):
    """One thing that keeps the proof from holding.

    Attributes:
        where: image, architecture and line, or what else it is about.
        what: what is missing or wrong.
        remedy: what to do.
        artifact: id of the one that is missing or damaged, for whoever asks which images it concerns.
    """

    where: str
    what: str
    remedy: str
    artifact: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what} → {self.remedy}"


class Expected(msgspec.Struct, frozen=True):
    """What a fresh rendering asks for: images with the digests of their folders, demands without answers, tools."""

    definition: str
    images: tuple[Image, ...]
    demands: tuple[Demand, ...]
    tools: tuple[str, ...]


RELOCK = "Run `airlock lock`, review what changed, then `airlock refresh`."


def prove_lock(lock: Lock, expected: Expected) -> list[Gap]:
    """Compare the lock with what is asked for now; nothing is read from a store."""
    gaps: list[Gap] = []
    if lock.header.definition != expected.definition:
        gaps.append(Gap("definition", "is not the one that was locked", RELOCK))
    gaps += _counts(lock)
    gaps += _images({image.key: image for image in lock.images}, {image.key: image for image in expected.images})
    gaps += _asked(lock, expected)
    gaps += unanswered(lock)
    gaps += _isolation(lock)
    return sorted(set(gaps))


def _counts(lock: Lock) -> Iterator[Gap]:
    held = {"images": len(lock.images), "demands": len(lock.demands), "artifacts": len(lock.artifacts)}
    for name, count in held.items():
        said = getattr(lock.header, name)
        if said != count:
            yield Gap("lock", f"its header says {said} {name}, it holds {count}", RELOCK)
    size = sum(artifact.size for artifact in lock.artifacts)
    if lock.header.size != size:
        yield Gap("lock", f"its header says {lock.header.size} bytes, its artifacts have {size}", RELOCK)


def _images(locked: Mapping[tuple[str, str], Image], asked: Mapping[tuple[str, str], Image]) -> Iterator[Gap]:
    for key in sorted(asked.keys() - locked.keys()):
        yield Gap(f"image {key[1]} ({key[0]})", "is not in the lock", RELOCK)
    for key in sorted(locked.keys() - asked.keys()):
        yield Gap(f"image {key[1]} ({key[0]})", "is in the lock, but the definition does not ask for it", RELOCK)
    for key in sorted(locked.keys() & asked.keys()):
        for field in ("parent", "base", "dockerfile", "context", "sealed"):
            if getattr(locked[key], field) != getattr(asked[key], field):
                what = f"its {field} is rendered otherwise than locked"
                yield Gap(f"image {key[1]} ({key[0]})", what, RELOCK)


def _asked(lock: Lock, expected: Expected) -> Iterator[Gap]:
    locked = {demand.key: demand for demand in lock.demands}
    asked = {demand.key: demand for demand in expected.demands}
    for key in asked.keys() - locked.keys():
        near = _nearest(asked[key], lock.demands)
        yield Gap(asked[key].where, f"{key[3]} demand `{key[4]}` is not in the lock{near}", RELOCK)
    for key, demand in locked.items():
        if demand.kind not in DERIVED and key not in asked:
            yield Gap(demand.where, f"the lock has a {key[3]} demand `{key[4]}` that nothing asks for", RELOCK)
        elif demand.kind == "vendor-repository" and demand.note != asked[key].note:
            yield Gap(demand.where, f"the repository {key[4]} is kept or left out otherwise than locked", RELOCK)
    tools = {demand.spec for demand in lock.demands if demand.kind == "tool"}
    for missing in sorted(set(expected.tools) - tools):
        yield Gap("tool", f"`{missing}` is not in the lock: the site could not run Kolla", RELOCK)


def _nearest(demand: Demand, locked: Iterable[Demand]) -> str:
    """Which words are new, where the lock has the same command with fewer."""
    for other in locked:
        if (other.arch, other.image, other.kind) == (demand.arch, demand.image, demand.kind):
            new = Counter(demand.spec.split()) - Counter(other.spec.split())
            if 0 < sum(new.values()) <= 3 and demand.spec.split()[:1] == other.spec.split()[:1]:
                return f" (new: {' '.join(new.elements())})"
    return ""


def unanswered(lock: Lock) -> Iterator[Gap]:
    """Demands without an answer, answers that are not there, and artifacts that answer nothing."""
    by_id = lock.by_id
    used: set[str] = set()
    for demand in lock.demands:
        used.update(demand.artifacts)
        noted = demand.kind in _MAY_BE_NOTED and demand.note
        if not demand.artifacts and demand.kind in ANSWERED and not noted:
            yield Gap(demand.where, f"{demand.kind} demand `{demand.spec}` has no answer", RELOCK)
        for ident in demand.artifacts:
            if ident not in by_id:
                yield Gap(demand.where, f"`{demand.spec}` is answered by {ident}, which is not in the lock", RELOCK)
    for ident in sorted(by_id.keys() - used):
        yield Gap(f"artifact {ident}", "answers no demand: a demand's line is missing from the lock", RELOCK)


def _isolation(lock: Lock) -> Iterator[Gap]:
    """Every sdist that a pip command or a build takes has its build requirements locked, even if they are none."""
    known = {
        (demand.arch, demand.image, demand.line, demand.spec)
        for demand in lock.demands
        if demand.kind == "python-build"
    }
    by_id = lock.by_id
    for demand in lock.demands:
        if demand.kind not in ("python", "python-build"):
            continue
        for ident in demand.artifacts:
            artifact = by_id.get(ident)
            if artifact is None or artifact.kind not in ("sdist", "source"):
                continue
            if (demand.arch, demand.image, demand.line, artifact.file) not in known:
                yield Gap(demand.where, f"what building {artifact.file} needs is not in the lock", RELOCK)


def prove_presence(
    artifacts: Sequence[Artifact], check: Callable[[Artifact], str], wanted_by: Mapping[str, str], reporter: Reporter
) -> list[Gap]:
    """Check that every artifact is there and whole.

    Args:
        artifacts: of the lock.
        check: ``""`` or what is wrong with an artifact; called from several threads (hashing releases the GIL).
        wanted_by: artifact id → where it is asked for.
        reporter: told bytes.
    """
    gaps: list[Gap] = []
    total = sum(artifact.size for artifact in artifacts)
    with reporter.task("checking artifacts", total) as task, ThreadPoolExecutor(THREADS) as threads:
        for artifact, wrong in zip(artifacts, threads.map(check, artifacts), strict=True):
            task.advance(artifact.size)
            if wrong:
                where = wanted_by.get(artifact.id, "lock")
                # A file of the right size passes for fetched: only its removal makes `refresh` fetch it again.
                name = f"pool/{artifact.sha256[:2]}/{artifact.sha256}"
                first = (
                    f"Remove {name} from the factory's folder, check the disk, then run"
                    if "content" in wrong
                    else "Run"
                )
                gaps.append(Gap(where, f"{artifact.id} is {wrong}", f"{first} `airlock refresh`.", artifact.id))
    return gaps


def wanted_by(lock: Lock) -> dict[str, str]:
    """Artifact id → the first place that asks for it."""
    found: dict[str, str] = {}
    for demand in lock.demands:
        for ident in demand.artifacts:
            found.setdefault(ident, demand.where)
    return found


def prove_indexes(held: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> list[Gap]:
    """Compare indexes on disk with those the lock and the pool give; names the first entry that differs in each."""
    gaps: list[Gap] = []
    for name in sorted(wanted.keys() | held.keys()):
        if name not in held:
            gaps.append(Gap(f"index {name}", "is missing", "Run `airlock refresh`."))
        elif name not in wanted:
            gaps.append(Gap(f"index {name}", "does not belong to this lock", "Run `airlock refresh`."))
        elif held[name] != wanted[name]:
            gaps.append(Gap(f"index {name}", _difference(name, held[name], wanted[name]), "Run `airlock refresh`."))
    return gaps


def _difference(name: str, held: bytes, wanted: bytes) -> str:
    separator = b"\n\n" if name.endswith("/Packages") else b"\n"
    old, new = held.split(separator), wanted.split(separator)
    for entry in new:
        if entry not in old:
            return f"lacks or alters `{_title(entry)}`"
    for entry in old:
        if entry not in new:
            return f"has `{_title(entry)}`, which is not locked"
    return "has other bytes than the lock gives"


def _title(entry: bytes) -> str:
    return entry.decode("utf-8", "replace").strip().splitlines()[0][:120] if entry.strip() else "(empty)"
