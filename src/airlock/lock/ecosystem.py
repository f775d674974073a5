"""What every small ecosystem keeps to (docs/ecosystems/how-to-add.md): it answers one kind of demand, and serves it.

In the room each image has an index of its own for each kind, at an address that is made from the locked files. So what
is locked is what is offered, whatever other images take; and other files give another Dockerfile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote, urljoin

import msgspec

from airlock.core.errors import FormatError, GoneError, IntegrityError, ResolutionError
from airlock.fetch.http import below
from airlock.fetch.witness import Witness
from airlock.kolla.reading.model import Command, Names
from airlock.lock.apt_resolver import AptResult
from airlock.lock.contents import Contents
from airlock.lock.gather import Gathered
from airlock.lock.model import Artifact, Demand, Kind
from airlock.lock.shortfall import Shortfall
from airlock.lock.sources_names import split_address
from airlock.store.pool import Pool

MAX_ANSWER = 64 << 20
"""Bytes of one answer of an index."""


class Ground(msgspec.Struct, frozen=True):
    """What a resolver stands on: one architecture, read, with its files and OS packages resolved.

    Attributes:
        addresses: of the upstreams that factory.toml names.
        plans: image → what apt does there; images that cannot be locked have none.
    """

    gathered: Gathered
    contents: Contents
    plans: Mapping[str, AptResult]
    witness: Witness
    pool: Pool
    shortfall: Shortfall
    addresses: Mapping[str, str]


class Question(msgspec.Struct, frozen=True):
    """A demand, and the command that makes it."""

    demand: Demand
    command: Command


class Answers(msgspec.Struct, frozen=True):
    """What an ecosystem answers.

    Attributes:
        upstreams: name → address of those that an index led to.
        facts: artifact id → what the room's index says of it besides name, version and hash.
    """

    demands: tuple[Demand, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    upstreams: dict[str, str] = {}
    facts: dict[str, Any] = {}


class RoomIndex(msgspec.Struct, frozen=True):
    """What the room serves below an index's address.

    Attributes:
        pages: relative name → bytes; a client that asks for ``a/`` gets ``a/index.json``.
        files: relative name → the locked file.
    """

    pages: dict[str, bytes]
    files: dict[str, Artifact] = {}


class Ecosystem(Protocol):
    """One kind of demand. ``upstream`` is the name of its index; its address is in factory.toml alone."""

    kind: Kind
    upstream: str

    async def resolve(self, ground: Ground) -> Answers:
        """Answer every demand of this kind.

        Raises:
            ResolutionError, UnclassifiedError, UpstreamError, IntegrityError: where ``shortfall`` lets it.
        """

    def index(self, artifacts: Sequence[Artifact], facts: Mapping[str, Any], address: str) -> RoomIndex:
        """The index of exactly these files, for clients that reach it at ``address``."""


def questions(ground: Ground, kind: Kind) -> Iterator[Question]:
    """Every demand of that kind with its command, parents first."""
    gathered = ground.gathered
    asked = {demand.key: demand for demand in gathered.demands if demand.kind == kind}
    for image, reading in gathered.readings.items():
        for command in reading.demands if asked else ():
            key = (gathered.arch, image, command.line, kind, " ".join(command.argv[1:]))
            if command.demand == kind and (demand := asked.pop(key, None)) is not None:
                yield Question(demand, command)


def named(ground: Ground, kind: Kind) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """The same of commands that give names, with these; without images that are refused already, for their packages."""
    for question in questions(ground, kind):
        detail = question.command.detail
        assert isinstance(detail, Names)
        if question.demand.image in ground.plans:
            yield question, detail.names


class Index:
    """An upstream's index, asked through the witness. Its address is kept, so that solving again knows it.

    Args:
        name: of the upstream.
        what: it is, for the message when nobody has named its address.
        where: who asks.

    Raises:
        ResolutionError: factory.toml does not say where it is.
    """

    def __init__(self, ground: Ground, name: str, what: str, where: str) -> None:
        self._witness, self._name = ground.witness, name
        if not ground.witness.live:
            self.address = ground.witness.kept(f"address/{name}").decode()
        elif name in ground.addresses:
            self.address = ground.addresses[name].rstrip("/")
            ground.witness.keep(f"address/{name}", self.address.encode())
        else:
            raise ResolutionError(
                f"{where} asks {what}, whose address is not known",
                remedy=f"Name it, or a mirror of it, in factory.toml: [upstreams.{name}] address = …",
            )

    async def get(self, path: str) -> bytes | None:
        """One answer; None where there is none."""
        try:
            return await self._witness.get(self._name, path, accept="application/json, */*", limit=MAX_ANSWER)
        except GoneError:
            return None

    async def ask(self, path: str, kind: type[msgspec.Struct]) -> Any:
        """One answer in JSON as ``kind``; None where there is none.

        Raises:
            FormatError: it is something else.
        """
        if (data := await self.get(path)) is None:
            return None
        try:
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise FormatError(
                f"upstream {self._name}: what it answers for {path.partition('?')[0]} is not understood: {error}",
                remedy=f"Is [upstreams.{self._name}] address in factory.toml that of such an index?",
            ) from None

    def place(self, page: str, url: str) -> tuple[str, str, str]:
        """(upstream, its address or nothing, path) of a file that a page names by ``url``.

        Raises:
            IntegrityError: no http(s) address.
        """
        whole = urljoin(below(self.address, page), url)
        if not whole.startswith(("http://", "https://")):
            raise IntegrityError(f"upstream {self._name} names {url!r} as the place of a file")
        if whole.startswith(self.address + "/"):
            return self._name, "", unquote(whole.removeprefix(self.address + "/"))
        return split_address(whole, "")
