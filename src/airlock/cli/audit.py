"""``airlock audit``: is the ledger whole, who did what, which images hold this."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from airlock.cli.common import DEFAULT_FACTORY, DEFAULT_SITE, FactoryOption, JsonOption, SiteOption, answer, verb
from airlock.cli.words import counted, stand_in_lines, window_lines
from airlock.core.errors import FormatError, UsageError
from airlock.core.settings import load_factory, load_site
from airlock.evidence.holdings import Holding, holdings
from airlock.evidence.query import parse_query
from airlock.site.audit import (
    BuildStory,
    LedgerSummary,
    all_records,
    check_records,
    summarise,
    tell_build,
    tell_windows,
)


@verb
def audit(
    context: typer.Context,
    site: SiteOption = DEFAULT_SITE,
    factory: FactoryOption = DEFAULT_FACTORY,
    holds: Annotated[
        str, typer.Option("--holds", metavar="FILE", help="Which images hold this file, package or sha256.")
    ] = "",
    build: Annotated[
        str, typer.Option("--build", metavar="ID", help="Who triggered this build, what came of it.")
    ] = "",
    windows: Annotated[
        str, typer.Option("--windows", metavar="BUNDLE", help="Through which firewall windows its files came.")
    ] = "",
    head: Annotated[str, typer.Option("--head", help="A head noted elsewhere, which must be in the chain.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Verify the ledger of a site (or a factory), and answer questions about its builds."""
    if _about_factory(context):
        if holds or build or windows:
            raise UsageError("--holds, --build and --windows ask a site", remedy="Name it: --site SITE.")
        summary, _ = summarise(load_factory(factory).ledger, head)
        answer(as_json, {"ledger": summary}, _ledger_lines(summary))
        return
    settings = load_site(site)
    summary, entries = summarise(settings.ledger, head)
    checked = check_records(settings.records, entries)
    document: dict[str, Any] = {"ledger": summary, "records_checked": checked}
    lines = [*_ledger_lines(summary), f"records   {checked} say what the ledger says"]
    unreadable: list[str] = []
    if build:
        story = tell_build(settings.records, build, entries)
        document["build"] = story
        lines += _story_lines(story)
    if windows:
        brought = tell_windows(settings, windows)
        document["windows"] = brought
        lines += [line for record in brought for line in ("", *window_lines(record))] or [f"{windows} tells of none"]
    if holds:
        query = parse_query(holds)
        records, unreadable = all_records(settings.records)
        found = holdings(records, query)
        document |= {"holds": found, "records": len(records), "unreadable": unreadable}
        lines += _holding_lines(holds, found, len(records))
    answer(as_json, document, lines)
    if not unreadable:
        return
    if as_json:  # the answer already is one JSON document
        sys.exit(FormatError.exit_code)
    raise FormatError(f"records that could not be asked: {'; '.join(unreadable)}", remedy="Take them from a backup.")


def _about_factory(context: typer.Context) -> bool:
    """Which of the two is meant: what the command line names, then the environment, then what lies here; a site first.

    Raises:
        UsageError: both are on the command line.
    """
    sources = {name: context.get_parameter_source(name) for name in ("site", "factory")}
    for origin in ("COMMANDLINE", "ENVIRONMENT"):
        named = [name for name, source in sources.items() if source is not None and source.name == origin]
        if len(named) == 2 and origin == "COMMANDLINE":
            raise UsageError("--site and --factory are two ledgers", remedy="Ask for one at a time.")
        if named:
            return named[0] == "factory"
    return not DEFAULT_SITE.exists() and DEFAULT_FACTORY.is_dir()


def _ledger_lines(ledger: LedgerSummary) -> list[str]:
    lines = [f"ledger    {ledger.path}: {counted(ledger.entries, 'entry', 'entries')}, the chain is whole"]
    if ledger.entries:
        lines.append(f"when      {ledger.first} … {ledger.last}")
        lines.append("what      " + ", ".join(f"{verb} {count}" for verb, count in ledger.verbs.items()))
    return [*lines, f"head      {ledger.head}"]


def _story_lines(story: BuildStory) -> list[str]:
    trigger = story.trigger
    ran = f" (run by {trigger.account})" if trigger.account not in ("", trigger.user) else ""
    lines = [
        "",
        f"build     {story.build}: {story.state}{f' ({story.error})' if story.error else ''}",
        f"who       {trigger.user} on {trigger.host}, through {trigger.through}{ran}",
        f"when      {trigger.time}; built {story.started} … {story.ended}",
        f"why       {trigger.reason or '(no reason given)'}",
        *(f"with      {key} {value}" for key, value in trigger.details.items()),
        f"from      {story.bundle}, content {story.bundle_digest}",
        *stand_in_lines(len(story.stand_ins), len(story.images), "proof     "),
        f"refused   {counted(story.refused_packets, 'packet')}, {counted(len(story.refused_names), 'name')}: "
        "what the build tried besides",
        *(f"image     {name}  {digest}" for name, digest in story.images.items()),
        *(f"ledger    entry {entry.seq}, {entry.time}: {entry.verb} by {entry.user}" for entry in story.ledger),
    ]
    if not story.record_checked:
        lines.append("note      the ledger does not tell how this build ended; the record stands for itself")
    return lines


def _holding_lines(asked: str, found: list[Holding], records: int) -> list[str]:
    builds = {holding.build for holding in found}
    lines = [
        "",
        f"{asked}: in {counted(len(found), 'image')} of {counted(len(builds), 'build')}; "
        f"{counted(records, 'build record')} asked",
    ]
    for holding in found:
        what = " ".join(part for part in (holding.name, holding.version, holding.arch) if part)
        source = f" ({holding.source})" if holding.source else ""
        lines.append(f"  {holding.build}  {holding.image}  {holding.digest}")
        lines.append(f"      {holding.how}{source}: {what}")
    return lines
