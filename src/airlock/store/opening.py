"""Which store the settings of an environment name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airlock.core.settings import Factory, Site
from airlock.store.artifacts import ArtifactStore, DirectoryStore
from airlock.store.nexus import NexusStore


def open_store(site: Site) -> ArtifactStore:
    """The site's artifact store; a context manager. Nothing is asked of it yet."""
    place = site.nexus
    return DirectoryStore(site.artifacts) if place is None else NexusStore(place)


@contextmanager
def open_copies(factory: Factory) -> Iterator[ArtifactStore | None]:
    """The store that has copies of the factory's artifacts, None where the settings name none."""
    place = factory.nexus
    if place is None:
        yield None
        return
    with NexusStore(place) as store:
        yield store
