"""Repositories that ``extrepo enable`` adds and the definition keeps (docs/ecosystems/extrepo.md).

Where its data are, and who signs them, stands in the package extrepo that the image installs before, in the locked
.deb. What extrepo would then write, a key and a source, are artifacts; their repository is an upstream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from airlock.core.errors import FormatError, GoneError, IntegrityError, ResolutionError, UnclassifiedError
from airlock.fetch.witness import Witness
from airlock.kolla.apt_sources import AptSource, parse_deb822
from airlock.kolla.reading.handle_fetch import extrepo_source
from airlock.kolla.reading.model import VendorRepository
from airlock.lock.apt_images import before_command
from airlock.lock.apt_resolver import AptResolver
from airlock.lock.deb_files import read_deb_files
from airlock.lock.downloads import file_artifact
from airlock.lock.extrepo_data import (
    CONFIG,
    KEYRING,
    MAX_INDEX,
    Config,
    Entry,
    read_config,
    read_entry,
    source_text,
    verify_index,
)
from airlock.lock.extrepo_locked import kept_repositories
from airlock.lock.gather import Gathered
from airlock.lock.keys import key_artifact
from airlock.lock.model import Artifact, Demand
from airlock.lock.shortfall import Shortfall
from airlock.lock.sources_fetch import fetch
from airlock.store.pool import Pool

EXTREPO = "extrepo"
"""The package, and the upstream that has its data."""


class ExtrepoResult(msgspec.Struct, frozen=True):
    """Repositories of one architecture.

    Attributes:
        demands: one an ``extrepo enable``, answered by key and source.
        upstreams: name → address, as package and index have them.
        texts: repository → the source that extrepo would write.
        keyrings: path in the image → the locked file of keys.
    """

    demands: tuple[Demand, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    upstreams: dict[str, str] = {}
    texts: dict[str, str] = {}
    keyrings: dict[str, Path] = {}


async def resolve_extrepo(
    gathered: Gathered,
    resolver: Callable[[], Awaitable[AptResolver]],
    learn: Callable[[Mapping[str, str]], None],
    witness: Witness,
    pool: Pool,
    shortfall: Shortfall,
) -> ExtrepoResult:
    """Answer every ``extrepo enable`` of an architecture.

    Args:
        resolver: makes one that knows what the distribution has, indexes fetched.
        learn: told the addresses of upstreams before these are asked.
        shortfall: is told of images whose repositories cannot be had.

    Raises:
        IntegrityError: index or key are not what is signed.
        ResolutionError: no such repository, or one that extrepo refuses or that cannot be carried.
        UnclassifiedError: an image that is no root, or where extrepo comes from cannot be told.
        UpstreamError, GoneError: an upstream fails, or lacks index, signature or key.
        FormatError: configuration or index are malformed.
    """
    result = ExtrepoResult()
    for demand in kept_repositories(gathered.demands):
        with shortfall.of(demand.image):
            deb = await asyncio.to_thread(_package, gathered, demand, await resolver(), pool)
            config, keyring = await _settings(deb, witness, pool)
            learn({EXTREPO: config.url.rstrip("/")})
            one = await _Data(witness, pool, config, keyring).repository(demand)
            learn(one.upstreams)
            result = _joined(result, one, {EXTREPO: config.url.rstrip("/")})
    return result


def _joined(one: ExtrepoResult, other: ExtrepoResult, upstreams: dict[str, str]) -> ExtrepoResult:
    artifacts = {artifact.id: artifact for artifact in (*one.artifacts, *other.artifacts)}
    return ExtrepoResult(
        (*one.demands, *other.demands),
        tuple(artifacts.values()),
        one.upstreams | other.upstreams | upstreams,
        one.texts | other.texts,
        one.keyrings | other.keyrings,
    )


def _package(gathered: Gathered, demand: Demand, resolver: AptResolver, pool: Pool) -> Artifact:
    """The package extrepo as the image has it when it enables the repository."""
    if gathered.tree.by_name[demand.image].parent:
        raise UnclassifiedError(
            f"{demand.where}: `extrepo enable {demand.spec}` in an image that is built on another",
            remedy="Enable it in base, by a template override.",
        )
    reading = gathered.readings[demand.image]
    detail = VendorRepository(demand.spec)
    index = next(n for n, one in enumerate(reading.commands) if (one.line, one.detail) == (demand.line, detail))
    installed = before_command(gathered, resolver, demand.image, index, pool)
    found = next((one for one in reversed(installed) if one.name == EXTREPO), None)
    if found is None:
        raise UnclassifiedError(
            f"{demand.where}: no command before `extrepo enable {demand.spec}` installs the package {EXTREPO}, so what "
            "it is configured with cannot be told",
            remedy="Install it by apt in the same image, by a template override.",
        )
    return found


async def _settings(deb: Artifact, witness: Witness, pool: Pool) -> tuple[Config, bytes]:
    """Configuration and keyring of the locked package."""
    sha256, _ = await fetch(witness, deb.upstream, deb.path, deb.id)
    if sha256 != deb.sha256:
        raise IntegrityError(
            f"upstream {deb.upstream} serves {deb.path} with sha256 {sha256}; its signed index says {deb.sha256}",
            remedy="Do not trust this mirror: name another one in factory.toml, or wait until it is repaired.",
        )
    wanted = (CONFIG, KEYRING)
    files = read_deb_files(pool.path(sha256), deb.id, lambda name: name.removeprefix(".") in wanted)
    found = {name.removeprefix("."): data for name, data in files.items()}
    if missing := [name for name in wanted if name not in found]:
        raise FormatError(f"{deb.id} has no {' and no '.join(missing)}: this extrepo is not known")
    return read_config(found[CONFIG], f"{CONFIG} of {deb.id}"), found[KEYRING]


class _Data:
    """extrepo's data, asked for as extrepo asks."""

    def __init__(self, witness: Witness, pool: Pool, config: Config, keyring: bytes) -> None:
        self._witness, self._pool, self._config, self._keyring = witness, pool, config, keyring

    async def repository(self, demand: Demand) -> ExtrepoResult:
        """One repository: what ``extrepo enable`` would write, as artifacts."""
        name, path = demand.spec, self._config.path("index.yaml")
        index, signature = await self._get(path, demand), await self._get(f"{path}.asc", demand)
        what = f"{demand.where}: {path} of the upstream {EXTREPO}"
        verify_index(index, signature, self._keyring, what)
        entry = read_entry(index, name, what)
        keyring = f"/var/lib/extrepo/keys/{name}.asc"
        text = source_text(name, entry, self._config, keyring)
        address = _address(parse_deb822(text, extrepo_source(name)), demand)
        key = await self._key(entry, demand)
        source = self._source(name, text)
        return ExtrepoResult(
            (msgspec.structs.replace(demand, artifacts=tuple(sorted((key.id, source.id)))),),
            (key, source),
            {name: address},
            {name: text},
            {keyring: self._pool.path(key.sha256)},
        )

    async def _get(self, path: str, demand: Demand) -> bytes:
        try:
            return await self._witness.get(EXTREPO, path, limit=MAX_INDEX)
        except GoneError:
            raise GoneError(
                f"{demand.where}: the upstream {EXTREPO} has no {path}",
                remedy=f"Name another place of extrepo's data in factory.toml: [upstreams.{EXTREPO}] address = …; or "
                f"take {demand.spec} out of vendor_repositories.",
            ) from None

    async def _key(self, entry: Entry, demand: Demand) -> Artifact:
        path, wanted = self._config.path(entry.key_file), entry.key_checksum.get("sha256", "").lower()
        data = await self._get(path, demand)
        sha256 = self._pool.add_bytes(data)
        if sha256 != wanted:
            raise IntegrityError(
                f"{demand.where}: the upstream {EXTREPO} serves {path}, the key of {demand.spec}, with sha256 "
                f"{sha256}; its signed index says {wanted or 'nothing'}",
                remedy=f"Do not trust this key. Where [upstreams.{EXTREPO}] names a mirror, see that it holds index "
                f"and keys of one state; `airlock lock --update {EXTREPO}` asks for all of them anew.",
            )
        return msgspec.structs.replace(key_artifact(EXTREPO, path, sha256, len(data), ""), trust="signed-index")

    def _source(self, name: str, text: str) -> Artifact:
        data = text.encode()
        file = Path(extrepo_source(name)).name
        found = file_artifact("airlock", file, self._pool.add_bytes(data), len(data))
        return msgspec.structs.replace(found, name=name, trust="made")


def _address(sources: Sequence[AptSource], demand: Demand) -> str:
    """The one address of a repository.

    Raises:
        ResolutionError: it has none, several, or one that is neither http nor https.
    """
    addresses = sorted({source.address for source in sources})
    if len(addresses) == 1 and urlsplit(addresses[0]).scheme in ("http", "https"):
        return addresses[0]
    raise ResolutionError(
        f"{demand.where}: the repository {demand.spec} of extrepo is at {', '.join(addresses) or 'no address'}; one at "
        "exactly one http or https address can be carried",
        remedy=f"Take {demand.spec} out of vendor_repositories.",
    )
