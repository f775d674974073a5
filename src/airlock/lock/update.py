"""What of a lock may move: nothing, unless it is named. ``lock`` without a name asks upstreams only what is new.

The answers that the lock was solved against hold (``fetch.frozen``). A name frees what belongs to it: an upstream's
answers, a project's page, the archive of a section, a repository. An apt index is one state; it moves as one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import msgspec

from airlock.core.errors import AirlockError, UsageError
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.fetch.frozen import Anew, Frozen
from airlock.fetch.source import page_path
from airlock.fetch.transcript import Transcript, read_transcript
from airlock.fetch.upstreams import PYPI
from airlock.lock import git_repositories, stand_ins, tools_git
from airlock.lock.model import Artifact, Lock
from airlock.lock.resolve import Resolution, resolve_lock
from airlock.lock.solver import Admit
from airlock.store.pool import Pool

_KEPT_FILES = (f"{git_repositories.KEPT}/", f"{tools_git.KEPT}/")


def frozen_answers(lock: Lock, factory: Factory, names: Sequence[str]) -> Frozen | None:
    """The answers of a lock that hold when these names are to be asked anew.

    Returns:
        None where this factory does not have what the lock was solved against.

    Raises:
        UsageError: a name is none of the lock's, or stands for what cannot move alone.
        AirlockError: the transcript is damaged.
    """
    pool = Pool(factory.pool)
    if not pool.has(lock.header.witness):
        return None
    transcript = read_transcript(pool, lock.header.witness)
    return Frozen(transcript, pool, anew(lock, transcript, names), lambda name, data: _keeps(pool, name, data))


def _keeps(pool: Pool, name: str, data: bytes) -> bool:
    """Whether a kept thing is an upstream's answer, and whole: what Airlock makes itself is made again."""
    if name == stand_ins.KEPT:
        return True
    if not name.startswith(_KEPT_FILES):
        return False
    artifact = msgspec.json.decode(data, type=Artifact)
    return pool.has(artifact.sha256, artifact.size)


def anew(lock: Lock, transcript: Transcript, names: Iterable[str]) -> Anew:
    """What names stand for.

    Raises:
        UsageError: see ``frozen_answers``.
    """
    found = Anew()
    for name in names:
        found = _joined(found, _named(lock, transcript, name))
    return found


def _joined(one: Anew, other: Anew) -> Anew:
    return Anew(
        one.upstreams | other.upstreams, one.projects | other.projects, one.paths | other.paths, one.kept | other.kept
    )


def _named(lock: Lock, transcript: Transcript, name: str) -> Anew:
    entries = transcript.entries()
    upstreams = sorted({entry.upstream for entry in entries} - {""})
    if name in upstreams:
        return Anew(upstreams=frozenset({name}))
    page, repository = page_path(name), f"{git_repositories.KEPT}/{name}/"
    answers = _artifacts(lock, name)
    movable = [one for one in answers if one.kind != "deb" and one.upstream in upstreams]
    held = {entry.key for entry in entries}
    projects = {(upstream, page[:-1]) for upstream in upstreams if (upstream, page) in held}
    projects |= {(one.upstream, one.name) for one in movable}
    projects |= {(one.upstream, one.path.partition("/")[0]) for one in movable if one.upstream == PYPI}
    found = Anew(
        projects=frozenset(projects),
        paths=frozenset((one.upstream, one.path) for one in movable),
        kept=frozenset(entry.path for entry in entries if not entry.upstream and entry.path.startswith(repository)),
    )
    if found == Anew():
        raise _unmovable(lock, upstreams, name, answers)
    return found


def _artifacts(lock: Lock, name: str) -> list[Artifact]:
    """What a name is the id, file, project or section of."""
    sections = {
        ident
        for demand in lock.demands
        if demand.kind == "source" and demand.spec == name
        for ident in demand.artifacts
    }
    names = (name, page_path(name)[:-1])
    return [one for one in lock.artifacts if one.id in sections or name in (one.id, one.file) or one.name in names]


def _unmovable(lock: Lock, upstreams: Sequence[str], name: str, answers: Sequence[Artifact]) -> UsageError:
    debs = sorted({one.upstream for one in answers if one.kind == "deb"})
    if debs:
        return UsageError(
            f"the package {name} comes with the index of the apt upstream {debs[0]}, which moves as a whole",
            remedy=f"airlock lock --update {debs[0]} takes what it has now.",
        )
    if answers:
        return UsageError(f"no upstream can move {name}: it is locked as {answers[0].trust}")
    known = {
        *upstreams,
        *(one.name for one in lock.artifacts if one.kind != "deb"),
        *(demand.spec for demand in lock.demands if demand.kind == "source"),
    }
    close = difflib.get_close_matches(name, sorted(known), n=5, cutoff=0.6)
    nearest = f"Nearest: {', '.join(close)}. " if close else ""
    return UsageError(
        f"nothing in the lock is called {name!r}",
        remedy=f"{nearest}Name an upstream ({', '.join(upstreams)}), a project, a section or a git repository.",
    )


async def resolve_frozen(
    loaded: LoadedDefinition,
    factory: Factory,
    reporter: Reporter,
    admit: Admit,
    old: Lock,
    frozen: Frozen,
    *,
    keep_going: bool = False,
) -> Resolution:
    """Resolve a definition with the answers of its lock; a lock that comes out the same stays as it is, byte for byte.

    Raises:
        AirlockError: see ``resolve_lock``.
    """
    while True:
        try:
            made = await resolve_lock(loaded, factory, reporter, admit, keep_going=keep_going, frozen=frozen)
        except AirlockError:
            if not frozen.mixed:
                raise
        else:
            if not frozen.mixed:
                return msgspec.structs.replace(made, lock=_same(made.lock, old))
        for name in sorted(frozen.mixed):
            reporter.say(f"{name}: more of its index is asked for than the lock has; it is taken anew as a whole")
        frozen = frozen.without(frozen.mixed)


def _same(made: Lock | None, old: Lock) -> Lock | None:
    """The old lock where nothing but the transcript differs: uv asks ahead, by timing."""
    if made is None:
        return None
    header = msgspec.structs.replace(made.header, witness=old.header.witness)
    return old if msgspec.structs.replace(made, header=header) == old else made
