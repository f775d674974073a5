"""``airlock bundle``: write what crosses the air gap."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
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
from airlock.cli.validate import require
from airlock.core.settings import load_factory
from airlock.definition.load import load_definition
from airlock.lock.files import load_lock
from airlock.lock.stand_ins import proven
from airlock.lock.validate import validate

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
    """Prove a lock complete and write its bundle to the media; after an interruption, run it again."""
    place, loaded, told = load_factory(factory), load_definition(definition), reporter(as_json)
    lock = load_lock(loaded.lock_path)
    require(asyncio.run(validate(lock, loaded, place, told)))
    info = make_bundle(place, loaded, media.absolute(), told)
    state = "is complete already; nothing was written" if info.already else f"written ({info.written / 1e6:,.1f} MB)"
    answer(
        as_json,
        msgspec.to_builtins(info) | {"proven": proven(lock)},
        [
            f"bundle    {info.id}: {state}",
            f"folder    {info.path}",
            f"holds     {info.files} files, {info.size / 1e6:,.1f} MB",
            f"proof     {proven(lock)}",
            f"content   {info.content_digest}",
            f"manifest  {info.manifest}",
            "          ↑ for the transfer paper: the site gives it to `airlock import --expect`",
        ],
    )
