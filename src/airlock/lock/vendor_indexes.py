"""Vendors' repositories that cannot be had: where finding out goes on, it goes on without them.

The images that enable one are refused (``vendors.require_reached``). What is no vendor's is everybody's, and ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from airlock.core.errors import AirlockError
from airlock.fetch.source import Failure
from airlock.fetch.witness import Witness
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_resolver import AptResolver
from airlock.lock.shortfall import Shortfall


def with_keys(
    vendors: Sequence[AptSource], rings: Mapping[str, Path | AirlockError], shortfall: Shortfall
) -> dict[str, Path]:
    """The files of keys that were had. Repositories whose keys were not are noted as lost.

    A lost key that signs no repository which an image enables is missed where it is fetched.
    """
    used = [(one.upstream, rings[one.keyring]) for one in vendors if one.keyring in rings]
    lost = {name: ring for name, ring in used if isinstance(ring, AirlockError)}
    for name, error in lost.items():
        said = f"the key of the vendor repository {name}: {error.message}"
        shortfall.vendors[name] = type(error)(said, remedy=error.remedy)
    for (image, _), error in shortfall.keys.items():
        if error not in lost.values():
            shortfall.note(image, error)
    return {path: ring for path, ring in rings.items() if isinstance(ring, Path)}


async def fetch_indexes(
    resolver: AptResolver, vendors: Sequence[AptSource], witness: Witness, shortfall: Shortfall
) -> None:
    """Fetch apt's indexes, without vendors' repositories that cannot be had where going on is wanted.

    Raises:
        AirlockError: see ``AptResolver.update``; apt itself sees the witness alone: why that could not answer comes
            from the witness.
    """
    names = {source.upstream for source in vendors}
    while True:
        before = len(witness.failures)
        try:
            await asyncio.to_thread(resolver.update)
            return
        except AirlockError as error:
            asked = {source.upstream for source in resolver.sources}  # others may be asked for other things meanwhile
            failures = [one for one in witness.failures[before:] if one.upstream in asked]
            lost = {
                name: _explained(why, [one for one in failures if one.upstream == name])
                for name, why in resolver.refused.items()
            }
            if not lost.keys() <= names or not shortfall.without_vendors(lost):
                raise _explained(error, failures) from None
            resolver.leave_out(lost)


def _explained(error: AirlockError, failures: Sequence[Failure]) -> AirlockError:
    if not failures:
        return error
    why = failures[0].error
    said = "\n".join(dict.fromkeys(one.error.message for one in failures[:5]))
    return type(why)(f"{said}\n{error.message}", remedy=why.remedy)
