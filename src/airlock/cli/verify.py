"""``airlock verify``: is the bundle whole? Needs neither factory nor site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airlock.bundle.verify import verify_bundle
from airlock.cli.common import JsonOption, answer, reporter, verb
from airlock.cli.words import counted
from airlock.lock.stand_ins import proven

BundleArgument = Annotated[Path, typer.Argument(help="The bundle's folder, which holds MANIFEST.json.")]


@verb
def verify(folder: BundleArgument, as_json: JsonOption = False) -> None:
    """Read a bundle as hostile and check every byte of it; all that is wrong is reported together."""
    verified = verify_bundle(folder, reporter(as_json))
    manifest = verified.manifest
    value = {
        "id": manifest.id,
        "stream": manifest.stream,
        "serial": manifest.serial,
        "manifest": verified.digest,
        "content_digest": manifest.content_digest,
        "content": manifest.content,
        "size": verified.size,
        "images": len(verified.lock.images),
        "proven": proven(verified.lock),
        "producer": manifest.producer,
        "ledger_head": manifest.ledger_head,
    }
    answer(
        as_json,
        value,
        [
            f"bundle    {manifest.id} is whole: {counted(manifest.content.files, 'content file')}, "
            f"{manifest.content.size / 1e6:,.1f} MB, for {counted(len(verified.lock.images), 'image')}",
            f"proof     {proven(verified.lock)}",
            f"content   {manifest.content_digest}",
            f"manifest  {verified.digest}",
            "          ↑ compare with the transfer paper",
        ],
    )
