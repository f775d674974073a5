"""``airlock trigger``: have the site's Zuul build, follow a build, cancel one."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from airlock.cli.common import DEFAULT_SITE, JsonOption, SiteOption, answer, errors, reporter, verb
from airlock.core.progress import Reporter
from airlock.core.settings import Site, load_site
from airlock.site.trigger import trigger
from airlock.site.trigger_cancel import cancel as cancel_build
from airlock.site.zuul_access import client_of, zuul_of
from airlock.zuul.follow import follow as follow_build
from airlock.zuul.outcome import SUCCESS, Outcome, require_success

INTERRUPTED = 130

BundleOption = Annotated[str, typer.Option("--bundle", help="Id of an imported bundle (airlock status lists them).")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the record and the ledger.")]
RefOption = Annotated[
    str, typer.Option("--ref", metavar="BRANCH", help="What to build; default: bundle/ID, which import seeds.")
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the build to its end.")]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, metavar="SECONDS", help="How long to follow; the build goes on beyond it.")
]
BuildsetOption = Annotated[str, typer.Option("--buildset", metavar="UUID", help="As `airlock trigger build` says it.")]

DEFAULT_TIMEOUT = 6 * 3600.0

app = typer.Typer(
    help="Have the site's Zuul build a bundle; follow a build; cancel one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("build", short_help="Order a build and follow it to its end.")
@verb
def build(
    bundle: BundleOption,
    reason: ReasonOption,
    site: SiteOption = DEFAULT_SITE,
    ref: RefOption = "",
    wait: WaitOption = True,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    as_json: JsonOption = False,
) -> None:
    """Have the site's Zuul build a bundle from the commit its branch is at in Gerrit; end with the build's result."""
    place, say = load_site(site), reporter(as_json)
    try:
        taken = asyncio.run(trigger(place, bundle, reason, ref, say))
    except KeyboardInterrupt:
        errors.print("interrupted; if Zuul took the order, it builds all the same: see its page", soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    if not wait:
        lines = [f"buildset  {taken.buildset}", f"commit    {taken.commit} ({taken.ref})", f"page      {taken.page}"]
        answer(as_json, taken, lines)
        return
    say.say(f"buildset {taken.buildset}: {taken.page}")
    _to_the_end(place, taken.buildset, timeout, as_json, say)


@app.command("follow", short_help="Follow a build to its end.")
@verb
def follow(
    buildset: BuildsetOption,
    site: SiteOption = DEFAULT_SITE,
    timeout: TimeoutOption = DEFAULT_TIMEOUT,
    as_json: JsonOption = False,
) -> None:
    """Say what becomes of a build that was ordered; end with its result."""
    _to_the_end(load_site(site), buildset, timeout, as_json, reporter(as_json))


@app.command("cancel", short_help="Cancel a build.")
@verb
def cancel(buildset: BuildsetOption, site: SiteOption = DEFAULT_SITE, as_json: JsonOption = False) -> None:
    """End a build: take it out of Zuul's pipeline, and await that its job has ended `airlock build` on the node."""
    found = asyncio.run(cancel_build(load_site(site), buildset, reporter(as_json)))
    answer(
        as_json,
        {"buildset": found.uuid, "result": found.result, "builds": {one.uuid: one.result for one in found.builds}},
        [f"buildset  {found.uuid}: {found.result}", *(f"build     {one.uuid}: {one.result}" for one in found.builds)],
    )


def _to_the_end(place: Site, buildset: str, limit: float, as_json: bool, say: Reporter) -> None:
    try:
        outcome = asyncio.run(_follow(place, buildset, limit, say))
    except KeyboardInterrupt:
        errors.print(
            f"not followed any longer; the build goes on. `airlock trigger follow --buildset {buildset}` follows it, "
            f"`airlock trigger cancel --buildset {buildset}` ends it",
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    if outcome.result == SUCCESS or not as_json:
        answer(as_json, outcome, _lines(outcome))
    require_success(outcome)


async def _follow(place: Site, buildset: str, limit: float, say: Reporter) -> Outcome:
    zuul = zuul_of(place)
    client, _ = client_of(zuul)
    async with client:
        return await follow_build(client, buildset, zuul.job, limit, say)


def _lines(outcome: Outcome) -> list[str]:
    told = msgspec.structs.asdict(outcome)
    names = ("buildset", "build", "result", "user", "page", "log_url", "record")
    lines = [f"{name.replace('log_url', 'logs'):<9} {told[name]}" for name in names if told[name]]
    rest = [f"artifact  {name}  {url}" for name, url in outcome.artifacts.items() if name != "record"]
    return lines + rest
