"""What a lock is made of, while it is being solved."""

from __future__ import annotations

from typing import Any

import msgspec

from airlock.lock.indexes import AptIndexes
from airlock.lock.model import Artifact, Demand, Image


class Parts(msgspec.Struct):
    """What has been resolved so far."""

    images: list[Image]
    demands: list[Demand]
    artifacts: list[Artifact]
    apt: AptIndexes
    facts: dict[str, Any]
    upstreams: dict[str, str]
    kolla: dict[str, str]

    def add(self, demands: list[Demand], artifacts: list[Artifact]) -> None:
        """Take over a resolver's answers."""
        self.demands += demands
        self.artifacts += artifacts
