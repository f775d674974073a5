"""Demands of a small ecosystem as a Dockerfile makes them, resolved through a witness, and their index in the room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from tests.web_server import answering

from airlock.core.settings import FetchTable
from airlock.fetch.witness import Witness
from airlock.kolla.reading import ImageState, load_rules, read_image
from airlock.lock.contents import Contents
from airlock.lock.demands import image_demands
from airlock.lock.ecosystem import Answers, Ecosystem, Ground
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact
from airlock.lock.shortfall import Shortfall
from airlock.store.pool import Pool

ONCE = FetchTable(connections=4, retries=0, timeout=10.0)


class _Tree:
    """As much of a rendering as a resolver looks at."""

    arch = "x86_64"
    images = ()

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.by_name = {name: SimpleNamespace(folder=folder, sources=()) for name, folder in folders.items()}


def gathered(dockerfiles: Mapping[str, str], work: Path, files: Mapping[str, bytes] | None = None) -> Gathered:
    """Images without a parent; each has the same files in its context."""
    rules, readings, demands, folders = load_rules(), {}, [], {}
    for image, text in dockerfiles.items():
        folders[image] = work / image
        folders[image].mkdir(parents=True, exist_ok=True)
        for name, data in (files or {}).items():
            (folders[image] / name).write_bytes(data)
        reading = read_image(
            f"FROM base\n{text}", image=image, context_files=(files or {}).get, inherited=ImageState(), rules=rules
        )
        readings[image] = reading
        demands += image_demands(reading, "x86_64", "base", {}, [])
    return Gathered(_Tree(folders), readings, tuple(demands), definition=None)  # type: ignore[arg-type]


async def resolve(
    ecosystem: Ecosystem,
    asked: Gathered,
    address: str,
    pool: Pool,
    *,
    shortfall: Shortfall | None = None,
    plans: Mapping[str, Any] | None = None,
    upstreams: Mapping[str, str] | None = None,
) -> Answers:
    """Recorded, then solved again offline: the same answers."""
    known = {ecosystem.upstream: address, **(upstreams or {})} if address else dict(upstreams or {})

    def ground(witness: Witness, addresses: Mapping[str, str]) -> Ground:
        reasons = shortfall or Shortfall("x86_64")
        return Ground(asked, Contents(asked, {}), plans or {}, witness, pool, reasons, addresses)

    async with Witness.record(pool, known, ONCE) as witness:
        found = await ecosystem.resolve(ground(witness, known))
        transcript = pool.add_bytes(witness.transcript())
    if shortfall is None:
        async with Witness.replay(pool, transcript) as witness:
            assert await ecosystem.resolve(ground(witness, {})) == found, "solving again offline gives another answer"
    return found


@contextmanager
def room(ecosystem: Ecosystem, found: Answers, bytes_of: Mapping[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    """(address of the index that a build of an image with these answers asks, every path asked so far).

    Args:
        bytes_of: sha256 → the file.
    """
    asked: list[str] = []
    files: dict[str, Artifact] = {}
    pages: dict[str, bytes] = {}

    def find(target: str) -> bytes | None:
        path = urlsplit(target).path
        asked.append(path)
        name = path.removeprefix("/index/")
        if name in files:
            return bytes_of[files[name].sha256]
        return pages.get(f"{name}index.json" if (not name or name.endswith("/")) else name)

    with answering(find) as address:
        index = ecosystem.index(found.artifacts, found.facts, f"{address}/index")
        pages |= index.pages
        files |= index.files
        yield f"{address}/index", asked
