"""``airlock status``: what the site holds, has built, and has room for."""

from __future__ import annotations

from typing import Annotated

import typer

from airlock.cli.common import DEFAULT_SITE, JsonOption, SiteOption, answer, reporter, verb
from airlock.cli.words import counted, stand_in_lines
from airlock.core.settings import load_site
from airlock.site.status import BuildStatus, BundleStatus, WindowStatus, site_status

CheckOption = Annotated[bool, typer.Option("--check", help="Hash every file of every bundle as well.")]
BuildsOption = Annotated[int, typer.Option("--builds", min=0, help="How many builds to show, newest first.")]


@verb
def status(
    site: SiteOption = DEFAULT_SITE, check: CheckOption = False, builds: BuildsOption = 10, as_json: JsonOption = False
) -> None:
    """Show the bundles the site holds, its last builds, free space and the ledger's head; changes nothing."""
    found = site_status(load_site(site), builds=builds, check=reporter(as_json) if check else None)
    free = "its free space unknown to this user" if found.free is None else f"{found.free / 1e9:,.1f} GB free"
    lines = [f"site      {found.name}, store {found.store}, {free}"]
    lines += [line for one in found.bundles for line in (_bundle(one), *map(_window, one.windows))] or [
        "bundle    none; `airlock import` brings one"
    ]
    lines += [_build(one) for one in found.builds] or ["build     none yet"]
    broken = f"; BROKEN: {found.ledger_problem}" if found.ledger_problem else ""
    lines.append(f"ledger    {counted(found.ledger_entries, 'entry', 'entries')}, head {found.ledger_head}{broken}")
    answer(as_json, found, lines)


def _bundle(bundle: BundleStatus) -> str:
    if bundle.problem:
        return f"bundle    {bundle.id}  UNUSABLE: {bundle.problem}"
    against = "".join(stand_in_lines(bundle.stand_ins, bundle.images, ", "))
    size = f"{bundle.size / 1e6:,.1f} MB"
    return f"bundle    {bundle.id}  imported {bundle.imported}, {size}, content {bundle.digest}{against}"


def _window(window: WindowStatus) -> str:
    if window.backend == "none":
        return f"window      {window.verb} of {window.opened} went without one"
    held = "every proof held" if window.held else "NOT every proof held"
    return (
        f"window      {window.verb}, {window.opened} … {window.closed}, {window.backend}: "
        f"{counted(len(window.hosts), 'host')}, {held}"
    )


def _build(build: BuildStatus) -> str:
    return (
        f"build     {build.id}  {build.state}, {counted(build.images, 'image')} from {build.bundle or '?'}, "
        f"began {build.started}{''.join(stand_in_lines(build.stand_ins, build.images, ', '))}"
    )
