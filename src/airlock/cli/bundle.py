"""``airlock bundle``: write what crosses the air gap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from airlock.bundle.make import make_bundle
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
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition

MediaOption = Annotated[
    Path, typer.Option("--media", help="Where the media are mounted; the bundle is a folder there.")
]


@verb
def bundle(
    media: MediaOption,
    definition: DefinitionArgument = DEFAULT_DEFINITION,
    factory: FactoryOption = DEFAULT_FACTORY,
    as_json: JsonOption = False,
) -> None:
    """Write the bundle of a lock to the media; run again after an interruption, it goes on from there."""
    info = make_bundle(load_factory(factory), load_definition(definition), media.absolute(), reporter(as_json))
    state = "is complete already; nothing was written" if info.already else f"written ({info.written / 1e6:,.1f} MB)"
    answer(
        as_json,
        info,
        [
            f"bundle    {info.id}: {state}",
            f"folder    {info.path}",
            f"holds     {info.files} files, {info.size / 1e6:,.1f} MB",
            f"content   {info.content_digest}",
            f"manifest  {info.manifest}",
            "          ↑ for the transfer paper: the site gives it to `airlock import --expect`",
        ],
    )
