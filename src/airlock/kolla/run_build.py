"""Kolla's own build of a rendered tree, run as a process of its own (in the sealed room) and followed here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from airlock.core.errors import BuildError, DefinitionError, IncompleteError, ToolError
from airlock.kolla.environment import KollaEnvironment
from airlock.kolla.render import RenderedTree, unsealed_sources

_MAX_EVENT = 1 << 20  # bytes of one event
_KEPT_LINES = 20  # of an image's output, for the message when it fails


class Started(msgspec.Struct, frozen=True, tag_field="event", tag="started"):
    """Kolla begins with an image: it fetches its sources."""

    image: str


class Ready(msgspec.Struct, frozen=True, tag_field="event", tag="ready"):
    """An image's context is complete, archives included; the engine begins when ``prepare`` returns."""

    image: str


class Line(msgspec.Struct, frozen=True, tag_field="event", tag="line"):
    """One line of what the engine says."""

    image: str
    text: str


class Finished(msgspec.Struct, frozen=True, tag_field="event", tag="finished"):
    """Kolla is done with an image; ``status`` is Kolla's word (``built``, ``error``, ``parent_error`` …)."""

    image: str
    status: str
    seconds: float


class _Done(msgspec.Struct, frozen=True, tag_field="event", tag="done"):
    statuses: dict[str, str]


class _Error(msgspec.Struct, frozen=True, tag_field="event", tag="error"):
    kind: Literal["template", "configuration", "kolla"]
    message: str


Event = Started | Ready | Line | Finished
_decoder = msgspec.json.Decoder(Started | Ready | Line | Finished | _Done | _Error)


class ImageOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one image's build ended.

    Attributes:
        status: Kolla's word; ``built`` is the good one, ``matched`` and ``unprocessed`` were never begun.
        seconds: from the fetching of its sources to the end; 0 when never begun.
        log: Kolla's log of it (missing when never begun).
        said: the last lines the engine said.
    """

    name: str
    status: str
    seconds: float
    log: Path
    said: list[str]


class BuildOutcome(msgspec.Struct, frozen=True):
    """How a whole build ended, images in the tree's order."""

    images: tuple[ImageOutcome, ...]

    @property
    def failed(self) -> list[ImageOutcome]:
        """Images that were not built, those that failed themselves first."""
        bad = [image for image in self.images if image.status != "built"]
        return sorted(bad, key=lambda image: image.status != "error")

    def check(self) -> None:
        """Do nothing when every image was built.

        Raises:
            BuildError: names the images, their logs and the last lines of the first one.
        """
        if failed := self.failed:
            first = failed[0]
            names = ", ".join(f"{image.name} ({image.status})" for image in failed)
            said = "".join(f"\n  {line}" for line in (first.said or _tail(first.log).splitlines())[-8:])
            raise BuildError(
                f"Kolla did not build {names}; {first.name}'s log ends with:{said}", remedy=f"See {first.log}."
            )


Prepare = Callable[[str], Awaitable[int]]


async def run_build(
    environment: KollaEnvironment,
    tree: RenderedTree,
    *,
    socket: str,
    logs: Path,
    threads: int,
    prepare: Prepare,
    follow: Callable[[Event], None] = lambda event: None,
    enter: Callable[[Sequence[str | Path]], list[str]] = lambda command: list(map(str, command)),
    cache: bool = True,
) -> BuildOutcome:
    """Build every image of a sealed tree with ``kolla-build``'s own machinery, from exactly the folders that are there.

    Args:
        socket: address of podman's API (``unix://…``).
        logs: folder for Kolla's logs, ``<image>.log``; made when missing.
        threads: images built at a time.
        prepare: called before the engine begins with an image, when its context is complete (archives of sources
            included); returns the time its layers shall bear, in seconds since the epoch.
        follow: called with every event.
        enter: turns a command into one that runs in the sealed room (network and files), where the name of the mirror
            has an address.
        cache: let the engine take layers from its cache.

    Raises:
        IncompleteError: the tree holds a source that would come from elsewhere than the mirror.
        ToolError: the worker cannot be started, ends without an answer, or cannot reach the engine.
        Whatever ``prepare`` or ``follow`` raises; the build is ended first.
    """
    if strays := unsealed_sources(tree):
        listed = "\n".join(f"image {image}: source {source.section}" for image, source in strays)
        raise IncompleteError(f"the bundle names no file for\n{listed}", remedy="Lock and bundle again.")
    logs.mkdir(parents=True, exist_ok=True)
    request = {
        "command": "build",
        "conf": str(tree.conf),
        "conf_dir": str(tree.conf_dir),
        "root": str(tree.root),
        "images": [image.name for image in tree.images],
        "paths": [str(image.folder.relative_to(tree.root)) for image in tree.images],
        "arguments": [
            "--podman_base_url", socket, "--threads", str(threads), "--logs-dir", str(logs), "--quiet",
            "--cache" if cache else "--nocache", "--noskip-existing", "--noskip-parents", "--nosummary",
        ],
    }  # fmt: skip
    seconds: dict[str, float] = {}
    said: dict[str, list[str]] = {image.name: [] for image in tree.images}
    statuses: dict[str, str] = {}
    log = logs / "kolla-build.log"
    async with _worker(enter(environment.command), environment.environment, log) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        running: set[asyncio.Task[None]] = set()
        try:
            async for event in _events(process.stdout, running):
                if isinstance(event, _Error):
                    raise DefinitionError(f"Kolla refuses to build: {event.message}")
                if isinstance(event, _Done):
                    statuses = event.statuses
                    break
                follow(event)
                if isinstance(event, Ready):
                    running.add(asyncio.create_task(_go(process, event.image, prepare)))
                elif isinstance(event, Line):
                    said[event.image] = [*said[event.image][1 - _KEPT_LINES :], event.text]
                elif isinstance(event, Finished):
                    seconds[event.image] = event.seconds
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        if not statuses:
            await process.wait()
            raise ToolError(f"Kolla's build ended with code {process.returncode}, without an answer: {_tail(log)}")
    return BuildOutcome(
        tuple(
            ImageOutcome(
                name=image.name,
                status=statuses.get(image.name, "unprocessed"),
                seconds=seconds.get(image.name, 0.0),
                log=logs / f"{image.name}.log",
                said=said[image.name],
            )
            for image in tree.images
        )
    )


async def _go(process: Process, image: str, prepare: Prepare) -> None:
    timestamp = await prepare(image)
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # the worker ended meanwhile; its events say why
        process.stdin.write(json.dumps({"go": image, "timestamp": timestamp}).encode() + b"\n")
        await process.stdin.drain()


async def _events(stream: asyncio.StreamReader, running: set[asyncio.Task[None]]) -> AsyncIterator[Any]:
    """The worker's events; ends with its output, or raises what one of ``running`` raised."""
    line: asyncio.Task[bytes] | None = None
    try:
        while True:
            line = line or asyncio.create_task(stream.readline())
            done, _ = await asyncio.wait({line, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {line}:
                running.discard(task)
                task.result()
            if line in done:
                raw, line = line.result(), None
                if not raw:
                    return
                yield _decoder.decode(raw)
    finally:
        if line is not None:
            line.cancel()


@contextlib.asynccontextmanager
async def _worker(command: list[str], environment: dict[str, str], log: Path) -> AsyncIterator[Process]:
    """The worker's process, its standard error in ``log``; it and its children are gone afterwards."""
    with log.open("wb") as stream:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdin=PIPE, stdout=PIPE, stderr=stream, limit=_MAX_EVENT,
                start_new_session=True, cwd="/",
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ToolError(f"the program {command[0]} is not installed") from error
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-8:])
