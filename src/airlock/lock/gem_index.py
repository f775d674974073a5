"""RubyGems' compact index, as ``gem install`` asks it; and the same for the room, of the locked gems alone."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from airlock.core.digest import is_sha256
from airlock.core.errors import ResolutionError
from airlock.lock.ecosystem import Index, RoomIndex
from airlock.lock.gem_marshal import specification
from airlock.lock.gem_versions import Bound, GemVersion, parse_requirements
from airlock.lock.model import Artifact

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_PLATFORM = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Gem(msgspec.Struct, frozen=True):
    """One line of a gem's page: a version for one platform.

    Attributes:
        dependencies: name → bounds, of those that are needed at run time.
        ruby, rubygems: what the interpreter and its gem program have to be.
    """

    name: str
    version: str
    platform: str
    dependencies: dict[str, tuple[Bound, ...]]
    ruby: tuple[Bound, ...]
    rubygems: tuple[Bound, ...]
    sha256: str = ""

    @property
    def full_name(self) -> str:
        """As files are called."""
        return f"{self.name}-{self.version}" + f"-{self.platform}" * (self.platform != "ruby")

    @property
    def line(self) -> str:
        """As it stands on the gem's page."""
        deps = ",".join(f"{name}:{_ampersands(bounds)}" for name, bounds in self.dependencies.items())
        needs = f"checksum:{self.sha256},ruby:{_ampersands(self.ruby)},rubygems:{_ampersands(self.rubygems)}"
        return f"{self.full_name.removeprefix(self.name + '-')} {deps}|{needs}"


def _ampersands(bounds: Sequence[Bound]) -> str:
    return "&".join(f"{sign} {version}" for sign, version in bounds)


class GemIndex:
    """Asks an index; every question once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._pages: dict[str, list[Gem]] = {}

    async def gems(self, name: str) -> list[Gem]:
        """Every version of a gem, for every platform; none where there is no such gem.

        Raises:
            ResolutionError: its page is not understood.
        """
        if name not in self._pages:
            data = await self._index.get(f"info/{name}")
            self._pages[name] = [] if data is None else parse_page(name, data)
        return self._pages[name]


def parse_page(name: str, data: bytes) -> list[Gem]:
    """The lines of ``/info/NAME`` (RubyGems' "Compact Index API").

    Raises:
        ResolutionError: a line is not understood.
    """
    lines = data.decode("utf-8", "replace").split("\n")
    found: list[Gem] = []
    for line in lines[lines.index("---") + 1 :] if "---" in lines else lines:
        if line:
            try:
                found.append(_line(name, line))
            except ValueError as error:
                raise ResolutionError(
                    f"gem {name}: its page is not understood: {error}: {line[:200]!r}",
                    remedy="Is [upstreams.rubygems] address in factory.toml that of an index of gems?",
                ) from None
    return found


def _line(name: str, line: str) -> Gem:
    head, _, rest = line.partition(" ")
    number, _, platform = head.partition("-")
    depends, _, needs = rest.partition("|")
    wants = {key: value for key, _, value in (one.partition(":") for one in needs.split(",")) if key}
    dependencies = {key: _bounds(value) for key, _, value in (one.partition(":") for one in depends.split(",")) if key}
    if not NAME.fullmatch(name) or not all(NAME.fullmatch(one) for one in dependencies):
        raise ValueError("a name that no gem has")
    if not _PLATFORM.fullmatch(platform or "ruby"):
        raise ValueError("a platform that there is not")
    if not is_sha256(wants.get("checksum", "")):
        raise ValueError("no sha256")
    return Gem(
        name=name,
        version=GemVersion(number).text,
        platform=platform or "ruby",
        dependencies=dependencies,
        ruby=_bounds(wants.get("ruby", "")),
        rubygems=_bounds(wants.get("rubygems", "")),
        sha256=wants["checksum"],
    )


def _bounds(text: str) -> tuple[Bound, ...]:
    return parse_requirements([one for one in text.split("&") if one])


def room_index(artifacts: Sequence[Artifact], facts: Mapping[str, Any]) -> RoomIndex:
    """The compact index of the locked gems, and the specifications that ``gem`` reads before it fetches one.

    A gem that is installed already, or that one of the locked ones needs, has a page in any case: without one, ``gem``
    asks for lists of another form.
    """
    gems = {one.id: msgspec.convert(facts[one.id]["gem"], Gem, strict=False) for one in artifacts if one.id in facts}
    lines: dict[str, list[str]] = {}
    pages: dict[str, bytes] = {}
    for ident, gem in gems.items():
        lines.setdefault(gem.name, []).append(gem.line)
        for name in (*gem.dependencies, *facts[ident]["installed"]):
            lines.setdefault(name, [])
        pages[f"quick/Marshal.4.8/{gem.full_name}.gemspec.rz"] = zlib.compress(specification(gem), 0)
    pages |= {f"info/{name}": "\n".join(["---", *sorted(own), ""]).encode() for name, own in lines.items()}
    pages["names"] = "\n".join(["---", *sorted(lines), ""]).encode()
    pages["versions"] = (
        b"created_at: 1980-01-01T00:00:00Z\n---\n"
        + "".join(f"{gem.name} {gem.line.partition(' ')[0]} {'0' * 32}\n" for gem in gems.values()).encode()
    )
    pages["index.json"] = b"{}"  # asked for to see whether a server is there
    return RoomIndex(pages, {f"gems/{artifact.file}": artifact for artifact in artifacts})
