"""Solving again from a bundle's own indexes: the proof that they, alone, lead apt to the same packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from airlock.core.files import write_file
from airlock.core.paths import rooted
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_resolver import AptResolver
from airlock.lock.model import Artifact


def solve_from_index(
    indexes: Mapping[str, bytes],
    *,
    root: Path,
    sources: Sequence[AptSource],
    debian_arch: str,
    artifacts: Iterable[Artifact],
) -> AptResolver:
    """A resolver that knows these indexes and nothing else; ``base`` and ``resolve`` must give what the lock says.

    The indexes are taken as they are: checking them against lock or manifest comes before. ``AptResult.plan`` and
    ``AptResult.state`` are what to compare; the artifacts' ids are those of the lock.

    Args:
        indexes: by relative name; only those below ``apt/`` are used.
        root: an empty folder for apt and a copy of the indexes.
        artifacts: the lock's, for their ids.

    Raises:
        ResolutionError: an index is missing.
        IntegrityError: a Packages file is not what its Release says.
    """
    copy = root / "index"
    for name, data in indexes.items():
        if name.startswith("apt/"):
            write_file(rooted(copy, name), data, durable=False)
    idents = {(one.sha256, one.upstream): one.id for one in artifacts if one.kind == "deb"}
    base = "copy:" + quote(str(copy.absolute()))
    resolver = AptResolver(
        root=root / "apt",
        sources=sources,
        addresses=lambda upstream: f"{base}/apt/{upstream}",
        debian_arch=debian_arch,
        trusted=True,
        idents=idents,
    )
    resolver.update()
    return resolver
