"""Firewall windows in a bundle: the records of those through which a lock's answers and files came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from airlock.bundle.names import WINDOWS
from airlock.core.errors import StateError
from airlock.core.settings import Factory
from airlock.evidence import ledger
from airlock.evidence.window import WindowRecord, read_windows

MAX_LOG = 64 << 20  # bytes of an access log that rides along


class Windows(msgspec.Struct, frozen=True):
    """What a bundle says of windows: ``summaries`` for the manifest, ``files`` by path in the bundle."""

    summaries: tuple[dict[str, Any], ...] = ()
    files: dict[str, Path] = {}


def windows_of(factory: Factory, lock: str) -> Windows:
    """The windows of the run that first made a lock, and of every refresh of it, the oldest first.

    Args:
        lock: its digest.

    Raises:
        StateError: one of them is open.
        ChainError: the factory's ledger is broken.
    """
    ids: set[str] = set()
    locked = False
    for entry in ledger.entries(factory.ledger):
        if entry.data.get("lock") != lock or entry.verb not in ("lock", "refresh"):
            continue
        if entry.verb == "refresh" or not locked:
            ids.update(str(name) for name in entry.data.get("windows", ()))
        locked = locked or entry.verb == "lock"
    records = [
        record
        for record in read_windows(factory.windows)
        if record.id in ids or (record.verb == "refresh" and record.lock == lock)
    ]
    if still := [record.id for record in records if record.state == "open"]:
        raise StateError(
            f"the window {still[0]} is open, and its record is not final", remedy="airlock window close --reason …"
        )
    files: dict[str, Path] = {}
    for record in records:
        files[f"{WINDOWS}/{record.id}.json"] = factory.windows / f"{record.id}.json"
        log = factory.windows / f"{record.id}.access.log"
        if log.is_file() and log.stat().st_size <= MAX_LOG:
            files[f"{WINDOWS}/{log.name}"] = log
    return Windows(tuple(summary(record) for record in records), files)


def summary(record: WindowRecord) -> dict[str, Any]:
    """What the manifest says of a window; all of it is in its record."""
    return {
        "id": record.id,
        "backend": record.backend,
        "verb": record.verb,
        "opened": record.opened,
        "closed": record.closed,
        "hosts": [f"{host.name}:{host.port}" for host in record.hosts],
        "held": all(proof.held for proof in record.proof) if record.state != "none" else False,
    }
