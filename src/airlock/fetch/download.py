"""Many files into the pool: parallel, resumed, hashed while written; what fails does not stop the rest."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import aiohttp

from airlock.core.errors import AirlockError, GoneError, IntegrityError, SpaceError, UpstreamError
from airlock.core.files import exclusive, require_space, sync_filesystem
from airlock.core.http import reason
from airlock.core.progress import Reporter, Task
from airlock.core.settings import FetchTable
from airlock.fetch.http import CHUNK, TRANSIENT, Refused, pause, request_url, session, shown
from airlock.fetch.jobs import Failure, Job, Result
from airlock.fetch.partial import Partial, already_there
from airlock.store.pool import Pool

PROGRESS = 1 << 20  # an attempt that brought this many bytes further does not count as failed


async def download(jobs: Sequence[Job], pool: Pool, settings: FetchTable, reporter: Reporter) -> Result:
    """Fetch what the pool lacks. Killed at any moment, the same call again finishes the work.

    Failures are in the result (``Result.check`` raises them); every other file is fetched all the same.

    Raises:
        SpaceError: the disk is too small for what is missing.
        StateError: another process is filling this pool.
    """
    began = time.monotonic()
    wanted = {job.sha256: job for job in jobs}
    missing = [job for job in wanted.values() if not pool.has(job.sha256, job.size)]
    if not missing:
        return Result(0, len(wanted), 0, time.monotonic() - began)
    pool.root.mkdir(parents=True, exist_ok=True)
    with exclusive(pool.root / ".fetch.lock", f"the pool {pool.root}"):
        total = sum(job.size for job in missing)
        left = sum(min(already_there(pool, job.sha256), job.size) for job in missing)
        require_space(pool.root, total - left, f"fetching {len(missing)} files")
        with reporter.task(f"fetching {len(missing)} files", total) as task:
            async with session(settings) as client:
                batch = _Batch(pool, client, settings, task)
                await batch.run(missing)
        await asyncio.to_thread(sync_filesystem, pool.root)
    failures = tuple(sorted(batch.failures, key=lambda failure: failure.job.artifact))
    return Result(
        fetched=len(missing) - len(failures),
        present=len(wanted) - len(missing),
        bytes=batch.received,
        seconds=time.monotonic() - began,
        failures=failures,
    )


class _WrongError(Exception):
    """The bytes are not those of the lock."""

    def __init__(self, found: str, *, resumed: bool) -> None:
        super().__init__(found)
        self.found = found
        self.resumed = resumed


class _Batch:
    """One call of ``download``: its workers share a client, a queue and what they know of hosts."""

    def __init__(self, pool: Pool, client: aiohttp.ClientSession, settings: FetchTable, task: Task) -> None:
        self._pool, self._client, self._settings, self._task = pool, client, settings, task
        self._down: dict[str, str] = {}  # host → why: no further job waits for it
        self._answered: dict[str, float] = {}  # host → when it last answered
        self.failures: list[Failure] = []
        self.received = 0

    async def run(self, jobs: Iterable[Job]) -> None:
        """Work all jobs off, the largest first so that none of them is alone at the end."""
        queue = iter(sorted(jobs, key=lambda job: (-job.size, job.artifact)))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(max(self._settings.connections, 1)):
                    group.create_task(self._work(queue))
        except ExceptionGroup as errors:  # the disk failed: nothing else gets past _work
            first = errors.exceptions[0]
            if isinstance(first, OSError) and first.errno == errno.ENOSPC:
                raise SpaceError(f"the disk of the pool {self._pool.root} is full") from None
            raise first from None

    async def _work(self, queue: Iterator[Job]) -> None:
        for job in queue:
            try:
                await self._fetch(job)
            except AirlockError as error:
                self.failures.append(Failure(job, error))

    async def _fetch(self, job: Job) -> None:
        with _opened(Partial(self._pool, job.sha256, job.size)) as part:
            await asyncio.to_thread(part.open)
            self._task.advance(part.written)
            try:
                await self._attempts(job, part)
            except _WrongError as wrong:
                part.discard()
                self._task.advance(-part.written)
                raise IntegrityError(
                    f"{job.artifact}: {shown(job.url)} serves other bytes than the lock names: expected sha256 "
                    f"{job.sha256}, {job.size} bytes; got {wrong.found}. It was not kept",
                    remedy="If upstream replaced it on purpose: run `airlock lock --update` and review the "
                    "change; if not, do not trust this mirror and name another one in factory.toml.",
                ) from None
            part.finish()

    async def _attempts(self, job: Job, part: Partial) -> None:
        host, began, attempt, furthest = urlsplit(job.url).netloc, time.monotonic(), 0, part.written
        anew = False
        while True:
            if host in self._down:
                raise UpstreamError(f"{job.artifact}: {shown(job.url)} was not tried: {self._down[host]}")
            kind = "an earlier run"
            try:
                if part.written < job.size or job.size == 0:
                    kind = await self._attempt(job, part, host)
                if part.written != job.size or part.sha256 != job.sha256:
                    raise _WrongError(f"sha256 {part.sha256}, {part.written} bytes ({kind})", resumed=part.resumed)
                return
            except _WrongError as wrong:
                if anew or not wrong.resumed:
                    raise
                anew = True
                self._forget(part)  # what lay there from before may be what is wrong
            except TRANSIENT as error:
                if part.written >= furthest + PROGRESS:
                    attempt = 0
                furthest = max(furthest, part.written)
                if attempt >= self._settings.retries:
                    self._give_up(job, host, began, attempt, error)
                await asyncio.sleep(pause(attempt))
                attempt += 1

    def _give_up(self, job: Job, host: str, began: float, attempt: int, error: BaseException) -> None:
        if not isinstance(error, Refused) and self._answered.get(host, 0.0) < began:
            self._down[host] = f"{shown(f'http://{host}')[7:]} does not answer ({reason(error)})"
        raise UpstreamError(
            f"{job.artifact}: {shown(job.url)} cannot be fetched, tried {attempt + 1} times: {reason(error)}"
        ) from None

    async def _attempt(self, job: Job, part: Partial, host: str) -> str:
        """Read one answer to its end; returns its media type (a proxy may answer with a page in place of a file)."""
        headers = {"Range": f"bytes={part.written}-"} if part.written else {}
        async with self._client.get(request_url(job.url), headers=headers) as answer:
            self._answered[host] = time.monotonic()
            if answer.status in (404, 410):
                raise GoneError(
                    f"{job.artifact} is no longer at {shown(job.url)} ({answer.status})",
                    remedy="Take what upstream has now: run `airlock lock --update`, review the change, then refresh.",
                )
            if answer.status == 206 and part.written:
                if not answer.headers.get("Content-Range", "").startswith(f"bytes {part.written}-"):
                    raise Refused(206, "with another range than was asked for")
                part.resumed = True
            elif answer.status == 200:
                self._forget(part)
            elif answer.status == 416:  # what is there is longer than what upstream has
                self._forget(part)
                raise Refused(416, answer.reason)
            else:
                raise Refused(answer.status, answer.reason)
            kind = answer.content_type
            async for chunk in answer.content.iter_chunked(CHUNK):
                self.received += len(chunk)
                if part.written + len(chunk) > job.size:
                    raise _WrongError(f"more than {job.size} bytes ({kind})", resumed=part.resumed)
                part.write(chunk)
                self._task.advance(len(chunk))
            ended = answer.content_length is not None or "chunked" in answer.headers.get("Transfer-Encoding", "")
            if not ended and part.written < job.size:
                raise aiohttp.ClientPayloadError  # the connection was closed: cut off, as far as one can tell
        return kind

    def _forget(self, part: Partial) -> None:
        self._task.advance(-part.written)
        part.restart()


@contextmanager
def _opened(part: Partial) -> Iterator[Partial]:
    try:
        yield part
    finally:
        part.close()
