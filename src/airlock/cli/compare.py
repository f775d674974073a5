"""``airlock compare``: the first difference between two builds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from airlock.build.compare import Comparison, Difference, ImageComparison, compare_records
from airlock.cli.common import JsonOption, answer, verb
from airlock.cli.words import counted
from airlock.core.errors import DifferenceError
from airlock.evidence.record import read_record

RecordArgument = Annotated[Path, typer.Argument(help="record.json, or the build's folder that holds it.")]
SHOWN = 20  # differences of one kind shown to a person; --json has all


@verb
def compare(left: RecordArgument, right: RecordArgument, as_json: JsonOption = False) -> None:
    """Compare two build records: are the images the same bit for bit, and if not, what differs first?"""
    comparison = compare_records(read_record(left), read_record(right))
    answer(as_json, comparison, _lines(comparison))
    if comparison.same:
        return
    if as_json:  # the answer already is one JSON document
        sys.exit(DifferenceError.exit_code)
    raise DifferenceError(_verdict(comparison), remedy=_remedy(comparison))


def _lines(comparison: Comparison) -> list[str]:
    lines = [f"left   {comparison.left}", f"right  {comparison.right}"]
    for image in comparison.images:
        lines.extend(_image_lines(image))
    if comparison.inputs:
        lines.append("inputs that differ:")
        lines.extend(_difference_lines(comparison.inputs))
    elif comparison.images:
        lines.append("inputs: the same")
    if comparison.same:
        lines.append(f"{counted(len(comparison.images), 'image')}, bit for bit the same")
    return lines


def _image_lines(image: ImageComparison) -> list[str]:
    if image.same:
        return [f"  =  {image.name}  {image.left}"]
    if image.where != "both":
        return [f"  ≠  {image.name}  {image.first}  {image.left or image.right}"]
    return [
        f"  ≠  {image.name}  {image.left} ≠ {image.right}",
        f"       first difference: {image.first}",
        *_difference_lines(image.differences, "       "),
    ]


def _difference_lines(differences: tuple[Difference, ...], indent: str = "  ") -> list[str]:
    lines = [f"{indent}{item.what}: {item.left or '(absent)'} ≠ {item.right or '(absent)'}" for item in differences]
    if len(lines) > SHOWN:
        lines[SHOWN:] = [f"{indent}… and {len(lines) - SHOWN} more (--json shows all)"]
    return lines


def _verdict(comparison: Comparison) -> str:
    if not comparison.images:
        return f"neither {comparison.left} nor {comparison.right} published an image: there is nothing to compare"
    names = [image.name for image in comparison.images if not image.same]
    return f"{len(names)} of {len(comparison.images)} images differ: {', '.join(names)}"


def _remedy(comparison: Comparison) -> str:
    if not comparison.images:
        return "Compare two builds that succeeded."
    if any(item.what in ("bundle digest", "lock") for item in comparison.inputs):
        return "The builds took different bundles; compare two builds of one bundle to judge repeatability."
    if any(item.what.startswith("engine ") for item in comparison.inputs):
        return "The same bits are promised for the same engine, storage driver and architecture only."
    return "Begin with the first image listed whose difference is not inherited; its log is beside its record."
