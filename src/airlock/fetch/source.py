"""Where the relay's answers come from: upstreams (and then they are recorded), or a transcript and the pool."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import msgspec
from packaging.utils import canonicalize_name

from airlock.core.errors import AirlockError, GoneError, UsageError
from airlock.core.settings import FetchTable
from airlock.fetch.frozen import Frozen
from airlock.fetch.http import below, with_credentials
from airlock.fetch.recorder import Flight, Recorder
from airlock.fetch.simple import ProjectFile, parse_page
from airlock.fetch.transcript import Entry, Transcript, absent
from airlock.store.pool import Pool

METADATA = ".metadata"  # PEP 658
_PAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/\Z")


_Work = Callable[[Flight], Coroutine[Any, Any, None]]


class Failure(msgspec.Struct, frozen=True):
    """A question of a client that went unanswered: of which upstream, and why."""

    upstream: str
    error: AirlockError


def is_page(path: str) -> bool:
    """Whether a path is that of a project's simple page."""
    return bool(_PAGE.match(path))


def page_path(name: str) -> str:
    """Path of a project's simple page below the index's address."""
    return f"{canonicalize_name(name)}/"


def file_path(name: str, file: str) -> str:
    """Path of a project's file in the relay and the transcript."""
    return f"files/{canonicalize_name(name)}/{file}"


class Source(Protocol):
    """Answers questions. All of them are ``Flight``s, so that large ones can be passed on while they arrive."""

    def ask(self, upstream: str, path: str, accept: str = "") -> Flight:
        """A page (``<name>/``, where nothing else is to be accepted) or any other file below the upstream's address."""

    def ask_file(self, upstream: str, name: str, file: str, sha256: str = "") -> Flight:
        """A project's file, or its ``.metadata``."""


def landed(entry: Entry) -> Flight:
    """A flight that has arrived."""
    flight = Flight(entry.upstream, entry.path)
    flight.entry = entry
    return flight


def lost(upstream: str, path: str, error: AirlockError) -> Flight:
    """A flight that never takes off."""
    flight = Flight(upstream, path)
    flight.error = error
    return flight


def read_page(pool: Pool, entry: Entry, name: str, address: str) -> list[ProjectFile]:
    """The files on a recorded simple page; none for an absent project.

    Raises:
        FormatError: it is no simple page.
        IntegrityError: the pool lacks it.
    """
    if entry.status != 200:
        return []
    return parse_page(pool.read(entry.sha256), entry.type, name, below(address, page_path(name)))


class Live:
    """Answers from upstreams, each asked once and recorded in pool and transcript; from ``frozen`` what still holds."""

    def __init__(
        self,
        pool: Pool,
        transcript: Transcript,
        client: aiohttp.ClientSession,
        settings: FetchTable,
        frozen: Frozen | None = None,
    ) -> None:
        self._pool, self._transcript, self._frozen = pool, transcript, frozen
        self._recorder = Recorder(pool, client, settings)
        self._flights: dict[tuple[str, str], Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.addresses: dict[str, str] = {}
        self.failures: list[Failure] = []

    def ask(self, upstream: str, path: str, accept: str = "") -> Flight:
        """See ``Source``."""
        if upstream not in self.addresses:
            return lost(upstream, path, _unknown(upstream, path))
        url = below(self.addresses[upstream], path)
        return self._launch(
            upstream,
            path,
            lambda flight: self._recorder.fly(flight, url, page=is_page(path) and not accept, accept=accept),
        )

    def ask_file(self, upstream: str, name: str, file: str, sha256: str = "") -> Flight:
        """See ``Source``."""
        path = file_path(name, file)
        if upstream not in self.addresses:
            return lost(upstream, path, _unknown(upstream, path))
        return self._launch(upstream, path, lambda flight: self._fetch_file(flight, name, file, sha256))

    async def close(self) -> None:
        """End what is still on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _launch(self, upstream: str, path: str, work: _Work) -> Flight:
        if known := self._transcript.find(upstream, path):
            return landed(known)
        if (upstream, path) not in self._flights and self._frozen and (held := self._frozen.find(upstream, path)):
            self._transcript.add(held)
            return landed(held)
        flight = self._flights.get((upstream, path))
        if flight is None or flight.error is not None:  # what failed may be asked for again
            flight = self._flights[upstream, path] = Flight(upstream, path)
            task = asyncio.create_task(self._watch(flight, work(flight)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return flight

    async def _watch(self, flight: Flight, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AirlockError as error:
            flight.error = error
        if flight.entry is not None:
            self._transcript.add(flight.entry)
            self._flights.pop((flight.upstream, flight.path), None)
        elif flight.error is not None:
            self.failures.append(Failure(flight.upstream, flight.error))
        flight.tell()

    async def _fetch_file(self, flight: Flight, name: str, file: str, sha256: str) -> None:
        page = await self.ask(flight.upstream, page_path(name)).result()
        address = self.addresses[flight.upstream]
        found = _listed(read_page(self._pool, page, name, address), file)
        if found is None:
            flight.entry = absent(flight.upstream, flight.path)
            return
        url, declared = found
        expected = sha256 or declared
        if expected and (size := await asyncio.to_thread(_size_if_whole, self._pool, expected)) is not None:
            flight.entry = Entry(flight.upstream, flight.path, 200, expected, size)
            return
        await self._recorder.fly(flight, with_credentials(url, address), sha256=expected)


def _listed(files: list[ProjectFile], file: str) -> tuple[str, str] | None:
    """(URL, declared sha256) of a file or of its metadata."""
    for listed in files:
        if listed.filename == file:
            return listed.url, listed.sha256
        if listed.metadata is not None and listed.filename + METADATA == file:
            return listed.url + METADATA, listed.metadata
    return None


def _size_if_whole(pool: Pool, sha256: str) -> int | None:
    path: Path = pool.path(sha256)
    try:
        size = path.stat().st_size
    except OSError:
        return None
    return size if not pool.check(sha256, size) else None


def _unknown(upstream: str, path: str) -> UsageError:
    return UsageError(
        f"{path} is asked of the upstream {upstream}, which has no address",
        remedy=f"Give it one in factory.toml: [upstreams.{upstream}] address = …",
    )


class Replay:
    """Answers from a transcript and the pool only."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self.unanswered: list[str] = []

    def ask(self, upstream: str, path: str, accept: str = "") -> Flight:
        """See ``Source``."""
        known = self._transcript.find(upstream, path)
        if known is not None:
            return landed(known)
        question = f"{upstream}/{path}"
        if question not in self.unanswered:
            self.unanswered.append(question)
        return lost(
            upstream,
            path,
            GoneError(
                f"{question} is not among what the lock was solved against",
                remedy="The definition or a tool has changed since: run `airlock lock` again.",
            ),
        )

    def ask_file(self, upstream: str, name: str, file: str, sha256: str = "") -> Flight:
        """See ``Source``."""
        return self.ask(upstream, file_path(name, file))
