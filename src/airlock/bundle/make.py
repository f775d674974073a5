"""The verb ``bundle``: serial, writing, ledger."""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.bundle.plan import plan_bundle
from airlock.bundle.serials import assign_serial
from airlock.bundle.windows import windows_of
from airlock.bundle.write import BundleInfo, require_pool, write_plan
from airlock.core.errors import IncompleteError
from airlock.core.files import exclusive
from airlock.core.progress import Reporter
from airlock.core.settings import Factory
from airlock.definition.model import LoadedDefinition
from airlock.evidence import ledger
from airlock.firewall.window import recover
from airlock.lock.files import load_lock
from airlock.lock.indexes import read_indexes
from airlock.lock.model import Lock
from airlock.store.pool import Pool

VERB = "bundle"


def load_indexes(factory: Factory, lock: Lock) -> dict[str, bytes]:
    """The indexes that ``refresh`` made for this lock: relative name → bytes.

    Raises:
        IncompleteError: it made none.
    """
    folder = factory.indexes / lock.digest
    found = read_indexes(folder)
    if not found:
        raise IncompleteError(f"there are no indexes for this lock in {folder}", remedy="Run `airlock refresh`.")
    return found


def make_bundle(factory: Factory, definition: LoadedDefinition, media: Path, reporter: Reporter) -> BundleInfo:
    """Write the bundle of a definition's lock to ``media``, or finish it, or say that it is there.

    The same lock and definition (and program) have the same bundle id and the same bytes, however often and wherever
    they are written.

    Raises:
        AirlockError: see ``write_plan``; StateError also when another process is at work in this factory.
    """
    with exclusive(factory.state / "factory.lock", "the factory"):
        lock = load_lock(definition.lock_path)
        recover(factory)
        windows = windows_of(factory, lock.digest)
        plan = plan_bundle(lock, definition, load_indexes(factory, lock), windows=windows)
        pool = Pool(factory.pool)
        require_pool(plan, pool)
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
