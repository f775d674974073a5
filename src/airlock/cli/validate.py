"""``airlock validate``."""

from __future__ import annotations

import asyncio
import sys

from airlock.cli.common import (
    DEFAULT_DEFINITION,
    DEFAULT_FACTORY,
    DefinitionArgument,
    FactoryOption,
    JsonOption,
    answer,
    reporter,
    verb,
)
from airlock.cli.words import counted, left_out_lines
from airlock.core.errors import IncompleteError
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition
from airlock.lock.files import load_lock
from airlock.lock.validate import Proof
from airlock.lock.validate import validate as prove

SHOWN = 50


@verb
def validate(
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    as_json: JsonOption = False,
) -> None:
    """Prove that every demand of every image is classified, resolved and present."""
    loaded = load_definition(definition)
    proof = asyncio.run(prove(load_lock(loaded.lock_path), loaded, load_factory(factory), reporter(as_json)))
    answer(as_json, proof, describe(proof))
    if as_json and not proof.holds:  # the answer already is one JSON document
        sys.exit(IncompleteError.exit_code)
    require(proof)


def describe(proof: Proof) -> list[str]:
    """The proof for a person."""
    if not proof.holds:
        return []
    return [
        f"nothing is missing: {counted(proof.images, 'image')}, {counted(proof.demands, 'demand')}, "
        f"{counted(proof.artifacts, 'artifact')}, "
        f"{proof.size / 1e6:,.1f} MB; all classified, resolved and present",
        str(proof.proven),
        *left_out_lines(proof.left_out),
    ]


def require(proof: Proof) -> None:
    """Raise unless the proof holds.

    Raises:
        IncompleteError: with the gaps.
    """
    if proof.holds:
        return
    lines = [f"  {gap.where}: {gap.what}\n      → {gap.remedy}" for gap in proof.gaps[:SHOWN]]
    if len(proof.gaps) > SHOWN:
        lines.append(f"  … and {len(proof.gaps) - SHOWN} more (--json lists all)")
    raise IncompleteError(
        f"{counted(len(proof.gaps), 'gap')}; the bundle would not be complete:\n" + "\n".join(lines),
        remedy="Mend the first gap; others often follow from it.",
    )
