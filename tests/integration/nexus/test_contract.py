"""The store in a real Nexus does what every artifact store must do."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from tests.integration.nexus.conftest import Repository
from tests.store_contract import StoreContract, source  # noqa: F401 - fixture

from airlock.store.nexus import NexusStore


@pytest.fixture
def store(repository: Repository) -> Iterator[NexusStore]:
    with repository.store() as made:
        yield made


class TestNexus(StoreContract):
    """In folders of their own, since a write-once repository forgets nothing."""

    @pytest.fixture
    def root(self) -> str:
        return f"contract/{uuid.uuid4().hex[:12]}"
