"""Kind ``grafana-plugin``: Grafana's plugins by name, chosen as grafana-cli does for the Grafana of the image."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from airlock.core.canonical import canonical
from airlock.core.digest import is_sha256
from airlock.core.errors import IntegrityError, ResolutionError, UnclassifiedError
from airlock.definition.model import DEBIAN_ARCHITECTURES
from airlock.lock.ecosystem import Answers, Ground, Index, RoomIndex, named
from airlock.lock.model import Artifact, Demand, Kind, first_seen
from airlock.lock.sources_fetch import fetch

UPSTREAM = "grafana-plugins"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_VERSION = re.compile(r"\d[0-9A-Za-z.+-]{0,63}")
_BOUND = re.compile(r"(?P<sign>>=|<=|>|<|=|\^|~)?v?(?P<numbers>\d+(?:\.(?:\d+|x|\*)){0,3})(?:[-+][0-9A-Za-z.+-]+)?")
_MAX_PLUGIN = 4 << 20
_MAX_PLUGINS = 100


class _Package(msgspec.Struct):
    sha256: str = ""


class _Version(msgspec.Struct):
    """As ``<plugin>/versions`` and ``repo/<plugin>`` have it; ``arch`` is None for a plugin for all machines."""

    version: str
    arch: dict[str, _Package] | None = None
    dependency: str = msgspec.field(default="", name="grafanaDependency")


class _Versions(msgspec.Struct):
    items: list[_Version] = []


class _Plugin(msgspec.Struct):
    versions: list[_Version] = []


class _Needed(msgspec.Struct):
    id: str


class _Dependencies(msgspec.Struct):
    plugins: list[_Needed] | None = None


class _Description(msgspec.Struct):
    """``plugin.json`` in the archive."""

    id: str
    dependencies: _Dependencies = msgspec.field(default_factory=_Dependencies)


class GrafanaPlugins:
    """See ``Ecosystem``."""

    kind: Kind = "grafana-plugin"
    upstream = UPSTREAM

    async def resolve(self, ground: Ground) -> Answers:
        """See ``Ecosystem``."""
        demands: list[Demand] = []
        artifacts: dict[str, Artifact] = {}
        facts: dict[str, Any] = {}
        for question, names in named(ground, self.kind):
            demand = question.demand
            with ground.shortfall.of(demand.image):
                found = await _Image(ground, demand).install(names)
                artifacts |= {artifact.id: artifact for artifact, _ in found}
                facts |= {artifact.id: {"arch": arch} for artifact, arch in found}
                demands.append(msgspec.structs.replace(demand, artifacts=tuple(sorted(one.id for one, _ in found))))
        return Answers(tuple(demands), tuple(artifacts.values()), {}, facts)

    def index(self, artifacts: Sequence[Artifact], facts: Mapping[str, Any], address: str) -> RoomIndex:
        """Both forms that grafana-cli has asked for over time; ``--repo <address>``."""
        pages: dict[str, bytes] = {}
        files: dict[str, Artifact] = {}
        listed: dict[str, list[dict[str, Any]]] = {}
        for artifact in artifacts:
            package = {facts.get(artifact.id, {}).get("arch", "any"): {"sha256": artifact.sha256}}
            listed.setdefault(artifact.name, []).append({"version": artifact.version, "arch": package})
            files[f"{artifact.name}/versions/{artifact.version}/download"] = artifact
        for name, versions in listed.items():
            pages[f"repo/{name}"] = canonical({"id": name, "versions": versions})
            pages[f"{name}/versions"] = canonical({"items": versions})
        return RoomIndex(pages, files)


class _Image:
    """The plugins of one command."""

    def __init__(self, ground: Ground, demand: Demand) -> None:
        self._ground, self._demand = ground, demand
        self._index = Index(ground, UPSTREAM, "an index of Grafana's plugins", demand.where)
        self._machine = f"linux-{DEBIAN_ARCHITECTURES[ground.gathered.arch]}"
        self._grafana = ground.plans[demand.image].state.versions.get("grafana", "")

    async def install(self, words: Sequence[str]) -> list[tuple[Artifact, str]]:
        """(artifact, the machine it is for) of a plugin and of those that it needs.

        Raises:
            UnclassifiedError: more than a plugin and a version.
            ResolutionError: there is none for this machine and this Grafana.
        """
        if len(words) > 2:
            raise UnclassifiedError(
                f"{self._demand.where}: grafana-cli installs one plugin, and what follows its name is a version"
            )
        found: dict[str, tuple[Artifact, str]] = {}
        wanted = [(words[0], words[1] if len(words) == 2 else "")]
        while wanted:
            name, version = wanted.pop(0)
            if name not in found:
                if len(found) >= _MAX_PLUGINS or not _NAME.fullmatch(name):
                    raise ResolutionError(f"{self._demand.where}: {words[0]} needs {name[:200]!r}, which cannot be")
                found[name] = await self._plugin(name, version)
                path = self._ground.pool.path(found[name][0].sha256)
                wanted += [(one, "") for one in needed(path, f"{self._demand.where}: plugin {name}")]
        return list(found.values())

    async def _plugin(self, name: str, wanted: str) -> tuple[Artifact, str]:
        versions = await self._versions(name)
        for one in versions:
            if not _VERSION.fullmatch(one.version):
                raise ResolutionError(f"{self._demand.where}: plugin {name} has a version {one.version[:100]!r}")
            package = self._package(one)
            if package is None or (wanted and one.version != wanted.lstrip("v")):
                continue
            if not self._compatible(name, one):
                continue
            return await self._artifact(name, one.version, *package)
        raise ResolutionError(
            f"{self._demand.where}: plugin {name} {wanted or 'in any version'} is not for {self._machine}"
            f" and Grafana {self._grafana or 'of an unknown version'}",
            remedy="Name another version behind the plugin by a template override, or leave the image out.",
        )

    async def _versions(self, name: str) -> list[_Version]:
        """The newest first, as the index has them."""
        found: _Versions | None = await self._index.ask(f"{name}/versions", _Versions)
        if found is not None and found.items:
            return found.items
        older: _Plugin | None = await self._index.ask(f"repo/{name}", _Plugin)
        return older.versions if older is not None else []

    def _package(self, version: _Version) -> tuple[str, str] | None:
        """(machine, declared sha256 or nothing)."""
        if version.arch is None:
            return "any", ""
        for machine in (self._machine, "any"):
            if machine in version.arch:
                return machine, version.arch[machine].sha256.lower()
        return None

    def _compatible(self, name: str, version: _Version) -> bool:
        if not version.dependency or not self._grafana:
            return True
        try:
            return in_range(self._grafana, version.dependency)
        except ValueError:
            raise ResolutionError(
                f"{self._demand.where}: plugin {name} {version.version} is for Grafana {version.dependency[:100]!r}, "
                "which is not understood",
                remedy="Name another version behind the plugin by a template override.",
            ) from None

    async def _artifact(self, name: str, version: str, machine: str, declared: str) -> tuple[Artifact, str]:
        path = f"{name}/versions/{version}/download"
        sha256, size = await fetch(self._ground.witness, UPSTREAM, path, self._demand.where)
        if declared and (sha256 != declared or not is_sha256(declared)):
            raise IntegrityError(
                f"{self._demand.where}: the upstream {UPSTREAM} serves {sha256} as plugin {name} {version}; its index "
                f"declares {declared[:100]}",
                remedy="Do not take it: ask whoever runs the index, or name another one in factory.toml.",
            )
        file = f"{name}-{version}" + f".{machine}" * (machine != "any") + ".zip"
        arch = "any" if machine == "any" else self._ground.gathered.arch
        artifact = first_seen(
            "grafana-plugin", file, UPSTREAM, path, sha256, size, name=name, version=version, arch=arch
        )
        return artifact, machine


def needed(archive: Path, where: str) -> list[str]:
    """The plugins that a plugin needs, as the ``plugin.json`` next to the top of its archive says.

    Raises:
        IntegrityError: it is no plugin.
    """
    try:
        with zipfile.ZipFile(archive) as members:
            names = [one for one in members.namelist() if one.split("/")[-1] == "plugin.json"]
            top = min(names, key=lambda one: (one.count("/"), one))
            if members.getinfo(top).file_size > _MAX_PLUGIN:
                raise ValueError(f"{top} is too large")
            found = msgspec.json.decode(members.read(top), type=_Description)
    except (ValueError, OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
        raise IntegrityError(f"{where}: what was fetched is no plugin of Grafana: {error}") from None
    return [one.id for one in found.dependencies.plugins or []]


def in_range(version: str, wanted: str) -> bool:
    """Whether a version of Grafana is in a range as plugins write it: ``>=9.5.0 <12``, ``^10.1``, ``9.x || 10.x``.

    Raises:
        ValueError: it is none.
    """
    found = re.match(r"(?:\d+:)?(\d+)(?:\.(\d+))?(?:\.(\d+))?", version)
    if found is None:
        raise ValueError(f"{version!r} is no version of Grafana")
    have = tuple(int(part or 0) for part in found.groups())
    return any(_all(have, choice) for choice in wanted.split("||"))


def _all(have: tuple[int, ...], wanted: str) -> bool:
    words = re.sub(r"([<>=~^])\s+", r"\1", wanted.replace(",", " ")).split()
    if not words:
        raise ValueError("an empty range")
    return all(_within(have, word) for word in words)


def _within(have: tuple[int, ...], word: str) -> bool:
    if word in ("*", "x"):
        return True
    found = _BOUND.fullmatch(word)
    if found is None:
        raise ValueError(f"{word[:100]!r} is no bound")
    numbers = [int(one) for one in found["numbers"].split(".") if one.isdigit()][:3]
    low = tuple(numbers + [0] * (3 - len(numbers)))
    match found["sign"]:
        case ">=":
            return have >= low
        case ">":
            return have > low
        case "<":
            return have < low
        case "<=":
            return have <= low
        case "^":
            return low <= have < (low[0] + 1, 0, 0)
        case "~":
            return low <= have < ((low[0], low[1] + 1, 0) if len(numbers) > 1 else (low[0] + 1, 0, 0))
    return list(have[: len(numbers)]) == numbers
