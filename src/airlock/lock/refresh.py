"""``refresh``: everything that the lock names into the pool, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.core.errors import AirlockError, FormatError, GoneError, IncompleteError, IntegrityError, UsageError
from airlock.core.progress import Reporter
from airlock.core.settings import Factory, FetchTable
from airlock.fetch.download import download
from airlock.fetch.http import below, with_credentials
from airlock.fetch.jobs import Job, raise_failures
from airlock.fetch.simple import ProjectFile
from airlock.fetch.source import page_path, read_page
from airlock.fetch.transcript import Transcript, read_transcript
from airlock.fetch.upstreams import KEPT, addresses
from airlock.fetch.witness import Witness
from airlock.lock.base_reference import refresh_images, registries
from airlock.lock.copies import Copies
from airlock.lock.model import Artifact, Lock
from airlock.store.artifacts import ArtifactStore
from airlock.store.pool import Pool


class RefreshResult(msgspec.Struct, frozen=True):
    """What ``refresh`` did.

    Attributes:
        fetched: files that arrived from upstreams.
        present: files that were there already.
        bytes: taken from upstreams, what was thrown away included.
        seconds: of wall clock.
        taken: files that came from the factory's own store instead; ``stored``: files that were put there.
    """

    fetched: int
    present: int
    bytes: int
    seconds: float
    taken: int = 0
    stored: int = 0


class _Plan(msgspec.Struct):
    """Where files are to be had.

    Attributes:
        jobs: what can be fetched.
        recorded: those of them whose address is from a page recorded by ``lock``, and may be out of date.
        unlisted: Python files whose address has to be asked of their index.
        images: files of images, which registries have.
    """

    jobs: list[Job] = []
    recorded: set[Job] = set()
    unlisted: list[Artifact] = []
    images: list[Artifact] = []
    errors: list[AirlockError] = []


ARTIFACTS = "artifacts"
"""What the factory's own Nexus is called where a window is opened for hosts: copies go there while it is open."""


def _anything(_: Mapping[str, str]) -> None:
    """No window to go through."""


async def refresh(
    lock: Lock,
    factory: Factory,
    defaults: Mapping[str, str],
    reporter: Reporter,
    store: ArtifactStore | None = None,
    admit: Callable[[Mapping[str, str]], None] = _anything,
) -> RefreshResult:
    """Fetch what the pool lacks of a lock's artifacts. Everything that can be fetched is, whatever else fails.

    Args:
        defaults: addresses of upstreams that neither the settings nor the lock's transcript name.
        store: the factory's own, if it has one: it is asked before any upstream, and gets what it lacks.
        admit: told the addresses of the upstreams in use before the first of them is asked.

    Raises:
        IntegrityError: an upstream serves other bytes than the lock names; they were not kept. Or the store has other
            bytes, or does not give back what it was given.
        GoneError: a file is no longer at its upstream.
        UpstreamError: an upstream, or the store, is down or keeps breaking off.
        UsageError: an upstream has no address.
        IncompleteError: a file that the factory made itself while locking is not in the pool.
        SpaceError, StateError: see ``download``.
    """
    began = time.monotonic()
    pool = Pool(factory.pool)
    present = sum(pool.has(one.sha256, one.size) for one in _by_sha256(lock).values())
    taken = stored = 0
    if store is not None:
        copies = await asyncio.to_thread(Copies, store, lock, pool)
        taken = await asyncio.to_thread(copies.take, reporter)
    result = await _from_upstreams(lock, factory, defaults, reporter, admit)
    if store is not None:
        stored = await asyncio.to_thread(copies.give, reporter)
    raise_failures(result.errors)
    seconds = round(time.monotonic() - began, 3)
    return RefreshResult(result.fetched, present, result.bytes, seconds, taken, stored)


class _Fetched(msgspec.Struct):
    """What came from upstreams, and what went wrong."""

    fetched: int = 0
    bytes: int = 0
    errors: list[AirlockError] = []


def _by_sha256(lock: Lock) -> dict[str, Artifact]:
    return {artifact.sha256: artifact for artifact in lock.artifacts}


async def _from_upstreams(
    lock: Lock,
    factory: Factory,
    defaults: Mapping[str, str],
    reporter: Reporter,
    admit: Callable[[Mapping[str, str]], None],
) -> _Fetched:
    pool, settings = Pool(factory.pool), factory.settings
    wanted = _by_sha256(lock)
    missing = [artifact for artifact in wanted.values() if not pool.has(artifact.sha256, artifact.size)]
    if not missing:
        return _Fetched()
    transcript = _transcript(pool, lock)
    named = {**defaults, **registries(lock.demands), **_kept_addresses(pool, transcript)}
    known = addresses(settings.upstreams, named)
    asked_of = {artifact.upstream for artifact in missing if artifact.trust != "made"}
    own = {ARTIFACTS: factory.nexus.address} if factory.nexus else {}
    admit({name: known[name] for name in asked_of if name in known} | own)
    plan = _plan(missing, pool, transcript, known, frozenset(settings.upstreams))
    asked, unfound = await _ask(plan.unlisted, known, settings.fetch)
    first = await download([*plan.jobs, *asked], pool, settings.fetch, reporter)

    # What a recorded page told may have moved since: ask the index, and try once more where it tells something new.
    failed = {failure.job.sha256: failure for failure in first.failures}
    moved, _ = await _ask([wanted[job.sha256] for job in plan.recorded if job.sha256 in failed], known, settings.fetch)
    moved = [job for job in moved if job != failed[job.sha256].job]
    second = await download(moved, pool, settings.fetch, reporter)
    images = await asyncio.to_thread(refresh_images, lock, plan.images, pool, known, settings.fetch, reporter)
    tried = {job.sha256 for job in moved}
    failures = [*(failure for failure in first.failures if failure.job.sha256 not in tried), *second.failures]
    return _Fetched(
        first.fetched + second.fetched + len(plan.images),
        first.bytes + second.bytes + sum(artifact.size for artifact in plan.images),
        [*plan.errors, *unfound, *images, *(failure.error for failure in failures)],
    )


def _transcript(pool: Pool, lock: Lock) -> Transcript:
    """What the lock was solved against; empty where this pool is not the one it was locked with."""
    if not pool.has(lock.header.witness):
        return Transcript()
    return read_transcript(pool, lock.header.witness)


def kept_addresses(pool: Pool, lock: Lock) -> dict[str, str]:
    """Addresses of upstreams as they were when the lock was made; none where this pool did not see that.

    Raises:
        FormatError: what was kept is malformed.
    """
    return _kept_addresses(pool, _transcript(pool, lock))


def _kept_addresses(pool: Pool, transcript: Transcript) -> dict[str, str]:
    if transcript.find("", KEPT) is None:
        return {}
    try:
        return msgspec.json.decode(transcript.kept(pool, KEPT), type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise FormatError(f"the addresses kept by lock are malformed: {error}", remedy="Run `airlock lock`.") from None


def _plan(
    missing: Iterable[Artifact],
    pool: Pool,
    transcript: Transcript,
    known: Mapping[str, str],
    named: frozenset[str],
) -> _Plan:
    """Say for each file where it is to be had.

    Args:
        named: upstreams whose address stands in the settings: pages recorded from elsewhere do not hold there.
    """
    plan = _Plan()
    for artifact in missing:
        if artifact.trust == "made":
            plan.errors.append(_made(artifact))
        elif artifact.upstream not in known:
            plan.errors.append(_no_address(artifact))
        elif artifact.kind == "image":
            plan.images.append(artifact)
        elif artifact.kind not in ("wheel", "sdist"):
            plan.jobs.append(_job(artifact, below(known[artifact.upstream], artifact.path)))
        elif artifact.upstream not in named and (
            job := _recorded(artifact, pool, transcript, known[artifact.upstream])
        ):
            plan.jobs.append(job)
            plan.recorded.add(job)
        else:
            plan.unlisted.append(artifact)
    return plan


def _job(artifact: Artifact, url: str) -> Job:
    return Job(artifact.id, artifact.name, url, artifact.sha256, artifact.size)


def _made(artifact: Artifact) -> AirlockError:
    return IncompleteError(
        f"{artifact.id} was made by the factory while locking, and is not in its pool",
        remedy="Run `airlock lock`: it makes it again from what is locked.",
    )


def _no_address(artifact: Artifact) -> AirlockError:
    return UsageError(
        f"{artifact.id} is from the upstream {artifact.upstream}, which has no address here",
        remedy=f"Give it one in factory.toml: [upstreams.{artifact.upstream}] address = …",
    )


def _recorded(artifact: Artifact, pool: Pool, transcript: Transcript, address: str) -> Job | None:
    """The job as the page that ``lock`` saw has it."""
    project = _project(artifact)
    entry = transcript.find(artifact.upstream, page_path(project))
    if entry is None or not pool.has(entry.sha256, entry.size):
        return None
    try:
        found = _listed(artifact, read_page(pool, entry, project, address), address)
    except AirlockError:  # damaged since: the index is asked again
        return None
    return found if isinstance(found, Job) else None


def _project(artifact: Artifact) -> str:
    return artifact.path.partition("/")[0] or artifact.name


def _listed(artifact: Artifact, files: Sequence[ProjectFile], address: str) -> Job | AirlockError:
    same_name = [file for file in files if file.filename == artifact.file]
    for file in same_name:
        if file.sha256 in (
            artifact.sha256,
            "",
        ):  # where the page declares nothing, the download is checked all the same
            return _job(artifact, with_credentials(file.url, address))
    if same_name:
        return IntegrityError(
            f"{artifact.id}: its index declares sha256 {same_name[0].sha256}; the lock names {artifact.sha256}",
            remedy="If upstream replaced it on purpose: run `airlock lock --update` and review the "
            "change; if not, do not trust this index.",
        )
    return GoneError(
        f"{artifact.id} is no longer on its project's page of the upstream {artifact.upstream}",
        remedy="Take what upstream has now: run `airlock lock --update`, review the change, then refresh.",
    )


async def _ask(
    artifacts: Sequence[Artifact], known: Mapping[str, str], settings: FetchTable
) -> tuple[list[Job], list[AirlockError]]:
    """Ask the indexes of today where files are."""
    if not artifacts:
        return [], []
    gate = asyncio.Semaphore(max(settings.connections, 1))

    async def one(witness: Witness, artifact: Artifact) -> Job | AirlockError:
        try:
            async with gate:
                files = await witness.project(artifact.upstream, _project(artifact))
        except AirlockError as error:
            return error
        return _listed(artifact, files, known[artifact.upstream])

    with TemporaryDirectory(prefix="airlock-refresh-") as scratch:  # today's pages are no part of the lock
        async with Witness.record(Pool(Path(scratch)), known, settings) as witness:
            found = await asyncio.gather(*(one(witness, artifact) for artifact in artifacts))
    jobs = [answer for answer in found if isinstance(answer, Job)]
    return jobs, [answer for answer in found if isinstance(answer, AirlockError)]
