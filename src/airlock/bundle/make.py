"""The verb ``bundle``: serial, writing, ledger."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from airlock.bundle.plan import plan_bundle
from airlock.bundle.serials import assign_serial
from airlock.bundle.write import BundleInfo, require_pool, write_plan
from airlock.core.errors import IncompleteError
from airlock.core.files import exclusive
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.evidence import ledger
from airlock.lock.model import Lock, read_lock
from airlock.store.pool import Pool

VERB = "bundle"


def load_lock(definition: LoadedDefinition) -> Lock:
    """The lock that lies beside a definition.

    Raises:
        IncompleteError: there is none.
        FormatError: it is not a lock.
    """
    path = definition.lock_path
    try:
        return read_lock(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise IncompleteError(f"{path} does not exist", remedy="Run `airlock lock`, then `airlock refresh`.") from None


def load_indexes(factory: Factory, lock: Lock) -> dict[str, bytes]:
    """The indexes that ``refresh`` made for this lock: relative name → bytes.

    Raises:
        IncompleteError: it made none.
    """
    folder = factory.indexes / lock.digest
    found = {
        place.relative_to(folder).as_posix(): place.read_bytes()
        for base, _, files in os.walk(folder)
        for file in files
        if (place := Path(base, file))
    }
    if not found:
        raise IncompleteError(f"there are no indexes for this lock in {folder}", remedy="Run `airlock refresh`.")
    return found


def make_bundle(factory: Factory, definition: LoadedDefinition, media: Path, reporter: Reporter) -> BundleInfo:
    """Write the bundle of a definition's lock to ``media``, or finish it, or say that it is there.

    The same lock and definition (and program) have the same bundle id and the same bytes, however often and wherever
    they are written.

    Raises:
        AirlockError: see ``write_bundle``; StateError also when another process writes a bundle of this factory.
    """
    lock = load_lock(definition)
    plan = plan_bundle(lock, definition, load_indexes(factory, lock))
    pool = Pool(factory.pool)
    require_pool(plan, pool)
    with exclusive(factory.state / "bundle.lock", "the factory's bundles"):
        serial = assign_serial(
            factory.state,
            factory.ledger,
            stream=plan.stream,
            identity=plan.identity,
            content_digest=plan.content_digest,
            lock=plan.lock,
            definition=plan.definition,
        )
        info = write_plan(plan, pool, media, serial.serial, serial.ledger_head, reporter)
        if not info.already:
            facts = msgspec.to_builtins(info)
            del facts["already"]
            ledger.append(factory.ledger, VERB, facts | {"lock": plan.lock, "definition": plan.definition})
    return info
