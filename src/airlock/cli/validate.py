"""``airlock validate``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

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
from airlock.cli.explained import candidates_lines, explanation_lines, why_lines
from airlock.cli.proof_lines import SHOWN, gap_lines, verdict_lines
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
from airlock.core.files import write_file
from airlock.core.progress import Reporter
from airlock.core.settings import Factory, load_factory
from airlock.definition.load import load_definition
from airlock.lock import explain as questions
from airlock.lock.files import load_lock
from airlock.lock.model import Lock
from airlock.lock.report_page import page
from airlock.lock.stand_ins import proven
from airlock.lock.verdict import judge

if TYPE_CHECKING:
    from airlock.definition.model import LoadedDefinition
    from airlock.lock.validate import Proof

ExplainOption = Annotated[
    str, typer.Option("--explain", metavar="IMAGE", help="Only say what the lock has of this image; proves nothing.")
]
WhyOption = Annotated[
    str,
    typer.Option(
        "--why", metavar="ARTIFACT", help="Only say who asks for it: an id, file name, name, or sha256's beginning."
    ),
]
HtmlOption = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the proof as one self-contained page as well.")
]
NAMED = 10
FIRST = "Mend the first gap; others often follow from it."


@verb
def validate(
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    explain: ExplainOption = "",
    why: WhyOption = "",
    html: HtmlOption = None,
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
    if explain or why:
        if (explain and why) or html is not None:
            raise UsageError("--explain is about an image, --why about an artifact, --html about all; one at a time")
        ask(load_lock(loaded.lock_path), explain, why, as_json)
        return
    lock = load_lock(loaded.lock_path)
    proof = asyncio.run(prove(lock, loaded, load_factory(factory), reporter(as_json)))
    verdict = judge(lock, proof.gaps, proof.proven)
    if html is not None:
        write_file(html, page(lock, proof.gaps, verdict, proof.proven, proof.left_out).encode())
    report = msgspec.to_builtins(proof) | {"report": msgspec.to_builtins(verdict)}
    answer(as_json, report, [*gap_lines(proof.gaps), *verdict_lines(verdict), *describe(proof)])
    if as_json and not proof.holds:  # the answer already is one JSON document
        sys.exit(IncompleteError.exit_code)
    require(proof, NAMED)  # again, the first: the report's beginning may have scrolled away


async def prove(lock: Lock, loaded: LoadedDefinition, factory: Factory, told: Reporter) -> Proof:
    """The proof. What it takes is imported here: a question to the lock alone need not wait half a second for it."""
    from airlock.lock.validate import validate as proof

    return await proof(lock, loaded, factory, told)


def ask(lock: Lock, image: str, artifact: str, as_json: bool) -> None:
    """Answer a question from the lock alone; words that fit several artifacts get a list of them.

    Raises:
        UsageError: the lock has no such thing; with the nearest names.
    """
    if image:
        explained = questions.explain(lock, image, proven(lock).against)
        answer(as_json, explained, explanation_lines(explained))
        return
    found = questions.find_artifacts(lock, artifact)
    if len(found) > 1:
        answer(as_json, {"candidates": found}, candidates_lines(artifact, found))
        return
    reason = questions.why(lock, found[0])
    answer(as_json, reason, why_lines(reason))


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


def require(proof: Proof, named: int = SHOWN) -> None:
    """Raise unless the proof holds.

    Raises:
        IncompleteError: with the first gaps, as many as ``named``.
    """
    if proof.holds:
        return
    gaps = "\n".join(gap_lines(proof.gaps, named))
    raise IncompleteError(f"{counted(len(proof.gaps), 'gap')}; the bundle would not be complete:\n{gaps}", remedy=FIRST)
