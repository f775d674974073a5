"""``airlock build``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from airlock.build.build import Request
from airlock.build.build import build as run
from airlock.bundle.stored import open_bundle
from airlock.cli.common import DEFAULT_SITE, JsonOption, SiteOption, answer, reporter, verb
from airlock.cli.words import stand_in_lines
from airlock.core.settings import load_site
from airlock.core.signals import ended_by_term
from airlock.evidence.asked import checked_name, checked_reason, parse_commits, parse_details
from airlock.store.opening import open_store

BundleOption = Annotated[str, typer.Option("--bundle", help="Id of an imported bundle (airlock status lists them).")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept in the record and the ledger.")]
FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Take nothing from earlier builds: no wheel, no base image.")
]
ThroughOption = Annotated[str, typer.Option("--through", metavar="SYSTEM", help="What starts this build (zuul).")]
RequesterOption = Annotated[
    str, typer.Option("--requester", metavar="NAME", help="Who asked that system; default: the user who runs this.")
]
DetailOption = Annotated[
    list[str], typer.Option("--detail", metavar="KEY=VALUE", help="What that system adds to the record; repeatable.")
]
GitOption = Annotated[
    list[str], typer.Option("--git", metavar="REPO=COMMIT", help="A commit that the bundle must name; repeatable.")
]


@verb
def build(
    bundle: BundleOption,
    site: SiteOption = DEFAULT_SITE,
    reason: ReasonOption = "",
    fresh: FreshOption = False,
    through: ThroughOption = "command line",
    requester: RequesterOption = "",
    detail: DetailOption = [],  # noqa: B006 - typer's default; never changed
    git: GitOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Seal a room, build a bundle's images in it with Kolla, publish them, keep a record."""
    place = load_site(site)
    request = Request(
        reason=checked_reason(reason),
        fresh=fresh,
        through=checked_name(through, "--through"),
        requester=checked_name(requester, "--requester") if requester else "",
        details=parse_details(detail),
        git=parse_commits(git),
    )
    with open_store(place) as store:
        stored = open_bundle(store, bundle)
        folder, record = asyncio.run(ended_by_term(run(stored, place, request, reporter(as_json))))
    network = record.network
    width = max((len(image.name) for image in record.images), default=0)
    answer(
        as_json,
        {
            "record": str(folder),
            "build_id": record.build_id,
            "images": {image.name: image.digest for image in record.images},
            "stand_ins": {image.name: image.stand_ins for image in record.images if image.stand_ins},
        },
        [
            *(f"{image.name:<{width}} {image.digest}  {image.reference}" for image in record.images),
            f"{len(record.served)} files served; packets for elsewhere: {network.refused_packets} of the build's own"
            f", {network.canary_packets} of the canary's, all refused",
            *stand_in_lines(sum(bool(image.stand_ins) for image in record.images), len(record.images)),
            f"record {folder}/record.json",
        ],
    )
