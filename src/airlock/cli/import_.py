"""``airlock import``: take a bundle into the site's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airlock.cli.common import DEFAULT_SITE, JsonOption, SiteOption, answer, reporter, verb
from airlock.cli.words import counted, stand_in_lines
from airlock.core.settings import load_site
from airlock.site.importing import import_bundle
from airlock.site.seeding import Seeded

BundleArgument = Annotated[Path, typer.Argument(help="The bundle's folder, which holds MANIFEST.json.")]
ExpectOption = Annotated[
    str | None,
    typer.Option(
        "--expect", metavar="DIGEST", help="The manifest's sha256 on the transfer paper; else a waiver is noted."
    ),
]
OlderOption = Annotated[bool, typer.Option("--allow-older", help="Take it although a newer one of its stream is here.")]


@verb
def import_(
    folder: BundleArgument,
    site: SiteOption = DEFAULT_SITE,
    expect: ExpectOption = None,
    allow_older: OlderOption = False,
    as_json: JsonOption = False,
) -> None:
    """Verify a bundle and take it into the site's store; older bundles stay usable."""
    result = import_bundle(folder, load_site(site), expect=expect, allow_older=allow_older, reporter=reporter(as_json))
    if not result.already:
        said = f"imported: {result.copied} files, {result.copied_size / 1e6:,.1f} MB copied, {result.held} held already"
    elif result.copied:
        said = f"was imported before; {result.copied} files had changed or gone and were mended"
    else:
        said = "was imported before; every file is whole, nothing to do"
    lines = [
        f"bundle    {result.id}: {said}",
        f"content   {result.content_digest}",
        f"manifest  {result.manifest}"
        + (" (as expected)" if result.expected else " (not compared with a transfer paper)"),
    ]
    proven = result.proven
    lines += stand_in_lines(proven.stand_ins, proven.real + proven.stand_ins, "proof     ")
    lines += [
        f"base      {image.reference} {image.digest}, {'sent' if image.sent else 'there already'}"
        for image in result.base_images
    ]
    for repository in result.repositories:
        lines += _seeded(repository)
    answer(as_json, result, lines)


def _seeded(found: Seeded) -> list[str]:
    """What Gerrit has of one repository; where people work on something else, how to bring it to them."""
    sent = [*found.pushed, *([counted(found.tags, "tag")] if found.tags else [])]
    done = f"{'made; ' if found.made else ''}{', '.join(sent)} pushed" if sent else "all there already"
    lines = [f"git       {found.repository} {found.commit[:12]} in Gerrit's {found.project}: {done}"]
    if found.state == "differs":
        lines += [
            f"          {found.working} there lacks this commit and was left; to propose it, in a clone:",
            f"            git fetch origin {found.branch} && git merge --no-ff FETCH_HEAD",
            f"            git push origin HEAD:refs/for/{found.working}",
        ]
    if found.other_tags:
        lines.append(f"          tags that are others there, and were left: {', '.join(found.other_tags)}")
    return lines
