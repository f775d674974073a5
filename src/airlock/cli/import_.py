"""``airlock import``: take a bundle into the site's store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airlock.cli.common import DEFAULT_SITE, JsonOption, SiteOption, answer, reporter, verb
from airlock.core.settings import load_site
from airlock.site.importing import import_bundle

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
    lines += [
        f"base      {image.reference} {image.digest}, {'sent' if image.sent else 'there already'}"
        for image in result.base_images
    ]
    answer(as_json, result, lines)
