"""Addresses of the upstreams that a definition's lock takes from; where there is no lock, of those in the settings."""

from __future__ import annotations

from pathlib import Path

from airlock.core.settings import Factory
from airlock.definition.load import load_definition
from airlock.fetch.upstreams import addresses
from airlock.lock.base_reference import registries
from airlock.lock.files import load_lock
from airlock.lock.refresh import kept_addresses
from airlock.store.pool import Pool


def in_use(factory: Factory, definition: Path) -> dict[str, str]:
    """Name → address. What the factory made itself while locking (bundles of git repositories) no refresh asks for.

    Raises:
        UsageError: an address is none.
        AirlockError: the definition or its lock cannot be read.
    """
    settings = factory.settings.upstreams
    place = definition / "release.toml" if definition.is_dir() else definition
    if not place.exists() or not (loaded := load_definition(place)).lock_path.exists():
        return {name: table.address for name, table in settings.items()}
    lock = load_lock(loaded.lock_path)
    named = {**registries(lock.demands), **kept_addresses(Pool(factory.pool), lock)}
    known = addresses(settings, named)
    asked = {artifact.upstream for artifact in lock.artifacts if artifact.trust != "made"}
    return {name: known[name] for name in sorted(asked) if name in known}
