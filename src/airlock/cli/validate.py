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
from airlock.cli.rehearse import (
    CleanOption,
    ForOption,
    ImagesArgument,
    RehearseOption,
    RehearseOptions,
    ReportOption,
    rehearsed,
)
from airlock.cli.words import counted, left_out_lines
from airlock.core.errors import IncompleteError, UsageError
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
    images: ImagesArgument = [],  # noqa: B006 - typer's default; never changed
    rehearse: RehearseOption = False,
    duration: ForOption = "",
    report: ReportOption = None,
    clean: CleanOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prove that every demand of every image is classified, resolved and present; with --rehearse, build them."""
    if rehearse:
        rehearsed(definition, load_factory(factory), RehearseOptions(images, duration, report, clean), as_json)
        return
    if images or duration or report or clean:
        raise UsageError("IMAGE…, --for, --report and --clean go with --rehearse")
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
