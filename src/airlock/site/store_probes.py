"""What ``airlock doctor`` tries on the Nexus that an environment's settings name; nothing is left in it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from airlock.core.errors import AirlockError
from airlock.core.nexus_settings import NexusPlace
from airlock.core.settings import load_factory, load_site
from airlock.site.probes import LackingError
from airlock.store.nexus import NexusStore


def configured_stores(place: Path) -> dict[Literal["factory", "site"], NexusPlace]:
    """The repositories that ``factory.toml`` and ``site.toml`` in ``place`` name, by environment.

    Raises:
        UsageError: one of them is malformed.
    """
    found: dict[Literal["factory", "site"], NexusPlace] = {}
    if nexus := load_factory(place).nexus:
        found["factory"] = nexus
    if (place / "site.toml").exists() and (nexus := load_site(place).nexus):
        found["site"] = nexus
    return found


def nexus(place: NexusPlace) -> str:
    """It answers, the repository is raw hosted, and its user may list and write there."""
    try:
        with NexusStore(place) as store:
            store.ready()
            next(store.list(""), None)
            store.see_writable()
            free = store.free()
    except AirlockError as error:
        raise LackingError(f"{error.message}. {error.remedy}".strip()) from None
    space = "free space not for this user to see" if free is None else f"{free / 1e9:.1f} GB free"
    return f"{store.name}: user {place.user} may list and write; {space}"
