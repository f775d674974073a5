"""Ansible Galaxy's API, version 3, as ansible-galaxy asks it; and the same for the room, of the locked files alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from airlock.core.canonical import canonical
from airlock.core.digest import is_sha256
from airlock.core.errors import FormatError, ResolutionError
from airlock.lock.ecosystem import Index, RoomIndex
from airlock.lock.model import Artifact
from airlock.lock.semver import meets, version_key

NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}\.[a-z_][a-z0-9_]{0,63}")
_PAGE = 100  # versions, as ansible-galaxy asks for
_MAX_PAGES = 200
_ROOTS = ("api/", "")
_THEN = "1980-01-01T00:00:00Z"


class _Root(msgspec.Struct):
    available_versions: dict[str, str]


class _Version(msgspec.Struct):
    version: str


class _Links(msgspec.Struct):
    next: str | None = None


class _Versions(msgspec.Struct):
    """One page: Galaxy says ``data``, a server of one's own may say ``results``."""

    data: list[_Version] = []
    results: list[_Version] = []
    links: _Links = msgspec.field(default_factory=_Links)


class _Artifact(msgspec.Struct):
    sha256: str
    size: int = 0


class _Metadata(msgspec.Struct):
    dependencies: dict[str, str] = {}


class Release(msgspec.Struct):
    """One version of a collection, as its page says.

    Attributes:
        page: its path below the upstream's address.
    """

    version: str
    download_url: str
    artifact: _Artifact
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    page: str = ""


class GalaxyApi:
    """Asks an index; every question once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._root = ""
        self._versions: dict[str, list[str]] = {}
        self._releases: dict[tuple[str, str], Release] = {}

    async def versions(self, name: str) -> list[str]:
        """Every version of a collection; none where there is no such collection.

        Raises:
            FormatError: the index answers something else.
        """
        if name not in self._versions:
            self._versions[name] = await self._ask_versions(name)
        return self._versions[name]

    async def release(self, name: str, version: str) -> Release:
        """What the index says of one version.

        Raises:
            ResolutionError: it lists a version that it does not have, or says of it what cannot be.
        """
        if (name, version) not in self._releases:
            self._releases[name, version] = await self._ask_release(name, version)
        return self._releases[name, version]

    async def _collection(self, name: str) -> str:
        if not self._root:
            for root in _ROOTS:
                # The page is a person's in some servers, where no API is.
                data = await self._index.get(root)
                try:
                    found = msgspec.json.decode(data or b"", type=_Root).available_versions.get("v3")
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue
                if found is not None:
                    self._root = f"{root}{found.strip('/')}"
                    break
            else:
                raise FormatError(
                    f"{self._index.address} is no Galaxy of version 3",
                    remedy="Correct [upstreams.galaxy] address in factory.toml.",
                )
        return f"{self._root}/collections/{name.replace('.', '/')}/versions/"

    async def _ask_versions(self, name: str) -> list[str]:
        place = await self._collection(name)
        query, found = f"limit={_PAGE}", list[str]()
        for _ in range(_MAX_PAGES):
            page = await self._index.ask(f"{place}?{query}", _Versions)
            if page is None:
                return []
            found += [one.version for one in page.data or page.results]
            # Where the next page is, is said relative to the server, which may stand behind another path.
            following = urlsplit(page.links.next or "").query
            if not following or following == query:
                return sorted(set(found), key=_order)
            query = following
        raise FormatError(f"{self._index.address}: the list of {name}'s versions does not end")

    async def _ask_release(self, name: str, version: str) -> Release:
        page = f"{await self._collection(name)}{version}/"
        found: Release | None = await self._index.ask(page, Release)
        wrong = ""
        if found is None:
            wrong = "has no page"
        elif found.version != version or not is_sha256(found.artifact.sha256):
            wrong = "has a page of something else, or one without sha256"
        else:
            wrong = next((bad for bad in found.metadata.dependencies.items() if not _sound(*bad)), "") and (
                "depends on what is neither a collection's name nor a range of versions"
            )
        if wrong or found is None:
            raise ResolutionError(
                f"collection {name} {version} {wrong}",
                remedy="Ask whoever runs the index, or ask for another version by a template override.",
            )
        return msgspec.structs.replace(found, page=page)


def _order(version: str) -> tuple[bool, Any, str]:
    try:
        return True, version_key(version), version
    except ValueError:
        return False, (), version


def _sound(name: str, wanted: str) -> bool:
    try:
        meets("1.0.0", wanted)
    except ValueError:
        return False
    return bool(NAME.fullmatch(name))


def room_index(artifacts: Sequence[Artifact], facts: Mapping[str, Any], address: str) -> RoomIndex:
    """The API of the locked collections: ``ansible-galaxy --server <address>/api/``."""
    pages = {"api/index.json": canonical({"available_versions": {"v3": "v3/"}})}
    files: dict[str, Artifact] = {}
    versions: dict[str, list[str]] = {}
    for artifact in artifacts:
        namespace, _, name = artifact.name.partition(".")
        place = f"api/v3/collections/{namespace}/{name}/versions"
        versions.setdefault(place, []).append(artifact.version)
        files[f"files/{artifact.file}"] = artifact
        pages[f"{place}/{artifact.version}/index.json"] = canonical(
            {
                "namespace": {"name": namespace},
                "collection": {"name": name},
                "version": artifact.version,
                "href": "",
                "download_url": f"{address}/files/{quote(artifact.file)}",
                "artifact": {"filename": artifact.file, "sha256": artifact.sha256, "size": artifact.size},
                "metadata": {"dependencies": facts.get(artifact.id, {}).get("dependencies", {})},
                "signatures": [],
            }
        )
    for place, found in versions.items():
        # Asked for before the list of versions: has it changed since the client's own cache was written?
        pages[f"{place.rpartition('/')[0]}/index.json"] = canonical({"created_at": _THEN, "updated_at": _THEN})
        listed = {"meta": {"count": len(found)}, "links": {"next": None}, "data": [{"version": one} for one in found]}
        pages[f"{place}/index.json"] = canonical(listed)
    return RoomIndex(pages, files)
