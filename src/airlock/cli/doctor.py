"""``airlock doctor``: what this machine lacks, and how to get it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from airlock.cli.common import JsonOption, answer, verb
from airlock.core.errors import ToolError
from airlock.site.doctor import (
    BOTH,
    Check,
    Environment,
    configured_gerrit,
    configured_keyrings,
    configured_zuul,
    examine,
    lacking,
)
from airlock.site.store_probes import configured_stores

_SIGNS = {"ok": "ok", "missing": "MISSING", "warning": "warning"}


@verb
def doctor(
    factory: Annotated[bool, typer.Option("--factory", help="Only what a Mirror Factory needs.")] = False,
    site: Annotated[bool, typer.Option("--site", help="Only what a build site needs.")] = False,
    at: Annotated[Path, typer.Option("--at", help="The folder where it lies or will lie.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say what this machine lacks for each environment, and how to get it. Nothing is changed."""
    asked: list[Environment] = [one for one, wanted in zip(BOTH, (factory, site), strict=True) if wanted] or list(BOTH)
    place = at.absolute()
    servers = configured_stores(place), configured_gerrit(place), configured_zuul(place)
    checks = examine(asked, place, configured_keyrings(place), *servers)
    missing = {environment: [check.name for check in lacking(checks, environment)] for environment in asked}
    answer(as_json, {"checks": checks, "missing": missing}, [*map(_line, checks), "", *map(_verdict, missing.items())])
    lacks = [environment for environment, names in missing.items() if names]
    if not lacks:
        return
    if as_json:  # the answer already is one JSON document
        sys.exit(ToolError.exit_code)
    raise ToolError(f"this machine cannot be a {' nor a '.join(lacks)} yet", remedy="Do what the list above says.")


def _line(check: Check) -> str:
    needed = "" if len(check.environments) > 1 else f" ({check.environments[0]})"
    remedy = f"\n           → {check.remedy}" if check.remedy else ""
    return f"  {_SIGNS[check.state]:<8} {check.name}{needed}: {check.found}{remedy}"


def _verdict(entry: tuple[str, list[str]]) -> str:
    environment, names = entry
    return f"{environment}: " + (f"{len(names)} missing: {', '.join(names)}" if names else "all that it needs is here")
