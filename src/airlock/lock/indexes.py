"""Indexes: what lets apt, pip and kolla-build find pool files. A pure function of the lock and the pool.

Relative names as in ``docs/formats/bundle.md``: ``apt/<upstream>/dists/…``, ``pypi/simple/…``, ``files.json``.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from airlock.core.canonical import canonical
from airlock.core.errors import IntegrityError
from airlock.core.files import write_file
from airlock.fetch.transcript import read_transcript
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_index import apt_indexes
from airlock.lock.apt_text import fields
from airlock.lock.demands import CLONE, NAMED
from airlock.lock.ecosystems import FACTS, room_indexes
from airlock.lock.model import Artifact, Lock
from airlock.lock.pypi_index import pypi_indexes
from airlock.store.pool import Pool

STANZAS = "apt/stanzas"
"""Name, in the witness's transcript, of what the apt indexes are made from."""


class AptIndexes(msgspec.Struct, frozen=True):
    """What the apt indexes are made from, kept at lock time.

    Attributes:
        stanzas: artifact id → its stanza of Packages.
        releases: ``<upstream>/<suite>`` → the fields of Release that pins look at.
        sources: the lines of sources.list.
    """

    stanzas: dict[str, str]
    releases: dict[str, dict[str, str]]
    sources: list[AptSource]


def build_indexes(lock: Lock, pool: Pool) -> dict[str, bytes]:
    """Every index of a lock, by relative name.

    Raises:
        IntegrityError: what the lock was solved against is not whole in the pool, or lists another .deb than the lock,
            or none.
    """
    apt = msgspec.json.decode(_kept(lock, pool, STANZAS), type=AptIndexes)
    debs = [artifact for artifact in lock.artifacts if artifact.kind == "deb"]
    # What only the site's tools want is not offered to builds.
    for deb in debs:
        _require_same(deb, apt.stanzas.get(deb.id))
    asked = (demand for demand in lock.demands if demand.kind in ("python", "python-build"))
    installed = {ident for demand in asked for ident in demand.artifacts}
    python = [found for found in lock.artifacts if found.kind in ("wheel", "sdist") and found.id in installed]
    by_id = lock.by_id
    files = {
        f"sources/{demand.spec}/{found.file}": {"sha256": found.sha256, "size": found.size, "file": found.file}
        for demand in lock.demands
        if demand.kind == "source"
        for found in (by_id[ident] for ident in demand.artifacts)
    }
    pages, served = room_indexes(lock, _facts(lock, pool))
    files |= {name: {"sha256": one.sha256, "size": one.size, "file": one.file} for name, one in served.items()}
    return {
        **apt_indexes(debs, apt.stanzas, apt.sources, apt.releases),
        **pypi_indexes(python),
        **pages,
        "files.json": canonical(files) + b"\n",
    }


_EDITED = "Was the lock edited? Run `airlock lock`, and review the change."


def _require_same(deb: Artifact, stanza: str | None) -> None:
    """See that the lock calls a .deb what its signed index does: apt takes it by that, and refuses other bytes."""
    if stanza is None:
        raise IntegrityError(f"{deb.id} is in no index that the lock was solved against", remedy=_EDITED)
    listed = fields(stanza)
    for field, value in (
        ("sha256", deb.sha256),
        ("size", str(deb.size)),
        ("package", deb.name),
        ("version", deb.version),
        ("architecture", deb.arch),
    ):
        if listed.get(field, "").lower() != value.lower():
            raise IntegrityError(
                f"{deb.id}: the lock has the {field} {value}, the index that it was locked from {listed.get(field)}",
                remedy=_EDITED,
            )


def _facts(lock: Lock, pool: Pool) -> dict[str, Any]:
    """What indexes say of files; nothing where no image has such a demand."""
    if not any(demand.kind in (*NAMED, CLONE) for demand in lock.demands):
        return {}
    return msgspec.json.decode(_kept(lock, pool, FACTS), type=dict[str, Any])


def _kept(lock: Lock, pool: Pool, name: str) -> bytes:
    entry = read_transcript(pool, lock.header.witness).find("", name)
    if entry is None:
        raise IntegrityError(f"what the lock was solved against lacks {name}", remedy="Run `airlock lock` again.")
    return pool.read(entry.sha256)


def write_indexes(indexes: Mapping[str, bytes], folder: Path) -> None:
    """Replace ``folder`` by these indexes."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in indexes.items():
        write_file(folder / name, data, durable=False)


def read_indexes(folder: Path) -> dict[str, bytes]:
    """The indexes that lie in ``folder``, by relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
