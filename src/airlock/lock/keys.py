"""Keys of vendor repositories, fetched by ``gpg --recv-keys`` or ``curl`` in base (docs/ecosystems/keys.md)."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from airlock.core.errors import AirlockError, GoneError, IntegrityError, ResolutionError
from airlock.core.process import clean_environment, find_tool, run
from airlock.fetch.witness import Witness
from airlock.kolla.reading.model import Download, ImageReading, KeyFetch
from airlock.lock.downloads import DownloadsResult, file_artifact, pool_address
from airlock.lock.model import Artifact, Demand
from airlock.lock.shortfall import Shortfall
from airlock.lock.sources_fetch import fetch
from airlock.lock.sources_names import split_address
from airlock.store.pool import Pool

_FOLDERS = ("/etc/kolla/apt-keys/", "/etc/apt/keyrings/", "/etc/apt/trusted.gpg.d/", "/usr/share/keyrings/")
_MAX_KEY = 4 << 20  # bytes; a key with many signatures has some 100 kB


def is_key(download: Download) -> bool:
    """Whether a ``curl`` puts what it fetches where apt's keys are."""
    return download.path.startswith(_FOLDERS)


def key_spec(fetched: KeyFetch) -> str:
    """What the lock calls a ``gpg --recv-keys``: the keyserver and the keys' ids."""
    return " ".join((fetched.keyserver, *fetched.keys))


async def resolve_keys(
    asked: Iterable[Demand], witness: Witness, pool: Pool, settled: Container[str], shortfall: Shortfall
) -> DownloadsResult:
    """Answer every ``key`` demand of an architecture.

    Args:
        asked: demands of all kinds, without answers.
        settled: names of upstreams whose address stands in the factory's settings.
        shortfall: is told of keys that cannot be had.

    Raises:
        IntegrityError: what comes is no key, or another one than the Dockerfile names.
        UpstreamError, GoneError: an upstream fails, or has no such key.
    """
    demands: list[Demand] = []
    artifacts: dict[str, Artifact] = {}
    upstreams: dict[str, str] = {}
    for demand in asked:
        if demand.kind != "key":
            continue
        with shortfall.of_key(demand.image, demand.spec):
            ids: list[str] = []
            for ident, location in key_locations(demand.spec):
                upstream, address, path = split_address(location, "")
                upstreams[upstream] = address
                if upstream not in settled:
                    witness.add_upstream(upstream, address)
                sha256, size = await _fetch(witness, upstream, path, demand, ident)
                check_key(pool.path(sha256), size, ident, f"{demand.where}: what {upstream} gives as the key", demand)
                found = key_artifact(upstream, path, sha256, size, ident)
                artifacts[found.id] = found
                ids.append(found.id)
            demands.append(msgspec.structs.replace(demand, artifacts=tuple(sorted(ids))))
    return DownloadsResult(tuple(demands), tuple(artifacts.values()), upstreams)


def asked_keys(demands: Iterable[Demand], known: Mapping[str, str]) -> dict[str, str]:
    """Name → address of the upstreams that keys will be asked of."""
    asked = (location for demand in demands if demand.kind == "key" for _, location in key_locations(demand.spec))
    return {name: known.get(name, address) for name, address, _ in (split_address(one, "") for one in asked)}


def key_locations(spec: str) -> list[tuple[str, str]]:
    """(id, or nothing where none is named; address) of every file that answers a ``key`` demand.

    A keyserver is asked as gpg asks it (draft-shaw-openpgp-hkp-00): port 11371 where an ``hkp`` address has none.
    """
    server, *keys = spec.split(" ")
    if not keys:
        return [("", server)]
    scheme, _, host = server.partition("://") if "://" in server else ("hkp", "", server)
    host = host.rstrip("/")
    if scheme == "hkp" and not re.search(r":\d+\Z", host):
        host += ":11371"
    secure = "s" if scheme in ("hkps", "https") else ""
    found = []
    for key in keys:
        ident = key.removeprefix("0x").upper()
        found.append((ident, f"http{secure}://{host}/pks/lookup?op=get&options=mr&search=0x{ident}"))
    return found


async def _fetch(witness: Witness, upstream: str, path: str, demand: Demand, ident: str) -> tuple[str, int]:
    try:
        return await fetch(witness, upstream, path, demand.where)
    except GoneError:
        raise GoneError(
            f"{demand.where}: the upstream {upstream} has no key {ident or path}",
            remedy=f"Name another server that has it in factory.toml: [upstreams.{upstream}] address = …; or take the "
            "vendor's repositories out of vendor_repositories.",
        ) from None


def key_artifact(upstream: str, path: str, sha256: str, size: int, ident: str) -> Artifact:
    """The artifact of one file of keys."""
    found = file_artifact(upstream, path, sha256, size)
    file = f"{ident}.asc" if ident else found.file
    return msgspec.structs.replace(
        found, id=f"key/{file}#{sha256[:8]}", kind="key", name=ident or found.name, file=file
    )


def fingerprints(file: Path) -> list[list[str]]:
    """The keys in a file: of each the fingerprints of the primary key and of its subkeys.

    Raises:
        ToolError: gpg is missing.
    """
    with TemporaryDirectory(prefix="airlock-gpg-") as home:
        command = [find_tool("gpg", "gnupg"), "--batch", "--homedir", home, "--with-colons", "--show-keys", str(file)]
        result = run(command, env=clean_environment(Path(home)))
    keys: list[list[str]] = []
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        kind, *values = line.split(":")
        if kind == "pub":
            keys.append([])
        elif kind == "fpr" and keys:
            keys[-1].append(values[8].upper())
    return keys if result.returncode == 0 else []


def check_key(file: Path, size: int, ident: str, what: str, demand: Demand) -> None:
    """See that a file holds keys, and where an id or a fingerprint is named, exactly that one key.

    Raises:
        IntegrityError: it does not.
    """
    keys = fingerprints(file) if size <= _MAX_KEY else []
    remedy = (
        "Nothing was locked. Compare with what the vendor publishes; name another server under [upstreams] in "
        "factory.toml, or take the vendor's repositories out of vendor_repositories."
    )
    if not keys:
        raise IntegrityError(f"{what} for `{demand.spec}` is no OpenPGP key", remedy=remedy)
    if ident and (len(keys) != 1 or not any(one.endswith(ident) for one in keys[0])):
        shown = ", ".join(one[0] for one in keys)
        raise IntegrityError(f"{what} {ident} has the fingerprint {shown}", remedy=remedy)


def keyrings(
    readings: Mapping[str, ImageReading],
    answers: Iterable[Demand],
    by_id: Mapping[str, Artifact],
    pool: Pool,
    lost: Mapping[tuple[str, str], AirlockError],
) -> dict[str, Path | AirlockError]:
    """Path in the images of a file of keys → the locked file that holds these keys, or why they cannot be had.

    A file that ``gpg --export ID`` writes has the key that ``gpg --recv-keys`` of that id brought.

    Args:
        lost: (image, specification) of a demand → why there is no answer (``Shortfall.keys``).
    """
    answered = {(demand.image, demand.spec): demand for demand in answers if demand.kind == "key"}
    found: dict[str, Path | AirlockError] = {}
    for image, reading in readings.items():
        received: dict[str, Path | AirlockError] = {}
        for command in reading.commands:
            detail = command.detail
            if isinstance(detail, KeyFetch):
                if demand := answered.get((image, key_spec(detail))):
                    keys = [by_id[ident] for ident in demand.artifacts]
                    received |= {key.name: pool.path(key.sha256) for key in keys}
                elif error := lost.get((image, key_spec(detail))):
                    received |= {key.removeprefix("0x").upper(): error for key in detail.keys}
            elif isinstance(detail, Download):
                if demand := answered.get((image, detail.url)):
                    found[detail.path] = pool.path(by_id[demand.artifacts[0]].sha256)
                elif error := lost.get((image, detail.url)):
                    found[detail.path] = error
            elif command.argv[:1] == ("gpg",) and "--export" in command.argv and len(command.writes) == 1:
                exported = received.get(command.argv[-1].removeprefix("0x").upper())
                if exported is None:
                    said = f"image {image}, line {command.line}: `{' '.join(command.argv)}`"
                    raise ResolutionError(
                        f"{said} exports a key that nothing fetched",
                        remedy="Receive it by the same id before, in the same image.",
                    )
                found[command.writes[0]] = exported
    return found


def sealed_keys(demands: Iterable[Demand], by_id: Mapping[str, Artifact]) -> dict[str, dict[str, str]]:
    """Image → what its Dockerfile fetches keys by → addresses of the same files in the room, by spaces apart."""
    found: dict[str, dict[str, str]] = {}
    for demand in demands:
        files = [by_id[ident] for ident in demand.artifacts if ident in by_id] if demand.kind == "key" else []
        if files:
            found.setdefault(demand.image, {})[demand.spec] = " ".join(map(pool_address, files))
    return found
