"""Have the site's Zuul cancel a build: exactly that one, and with its job's cleanup done."""

from __future__ import annotations

import asyncio
import time

from airlock.core.errors import StateError, UpstreamError
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.evidence import ledger
from airlock.site.zuul_access import client_of, zuul_of
from airlock.zuul.client import ZuulClient
from airlock.zuul.follow import INTERVAL
from airlock.zuul.model import Buildset

CLEANED = 300.0  # seconds that the job's cleanup may take


async def cancel(site: Site, buildset: str, reporter: Reporter) -> Buildset:
    """Dequeue a buildset and wait until its job has cleaned up on the node.

    Raises:
        StateError: there is no such build, it has ended, or Zuul would cancel another one of the same branch.
        UsageError: the settings name no Zuul.
        UpstreamError: Zuul cannot be reached or refuses, or the cleanup does not end.
    """
    client, requester = client_of(zuul_of(site))
    async with client:
        found = await client.buildset(buildset)
        if found is None:
            raise StateError(
                f"Zuul has no buildset {buildset} in tenant {client.tenant}", remedy=f"Look in {client.address}."
            )
        if found.result:
            raise StateError(f"buildset {buildset} has ended ({found.result})", remedy=f"See {client.page(buildset)}")
        await _require_first(client, found)
        await client.dequeue(found.ref.project, found.pipeline, found.ref.ref)
        ledger.append(
            site.ledger,
            "trigger-cancel",
            {"buildset": buildset, "requester": requester, "project": found.ref.project, "ref": found.ref.ref},
        )
        reporter.say("cancelled; the job ends the build on its node")
        return await _cleaned(client, found)


async def _require_first(client: ZuulClient, buildset: Buildset) -> None:
    """Zuul dequeues by project and ref, and takes the first item that fits."""
    ref = buildset.ref
    items = [item for item in (await client.status()).items(buildset.pipeline) if item.about(ref.project, ref.ref)]
    if not any(item.buildset == buildset.uuid for item in items):
        raise StateError(
            f"buildset {buildset.uuid} is not in pipeline {buildset.pipeline} any more",
            remedy=f"See {client.page(buildset.uuid)}",
        )
    if items[0].buildset != buildset.uuid:
        raise StateError(
            f"buildset {items[0].buildset} of the same {ref.ref} stands before it, and Zuul would cancel that one",
            remedy="Cancel or await that one first.",
        )


async def _cleaned(client: ZuulClient, buildset: Buildset) -> Buildset:
    began = time.monotonic()
    while True:
        found = await client.buildset(buildset.uuid) or buildset
        # The buildset ends at once; a build's result is written once its playbooks have.
        if found.result and all(build.result for build in found.builds):
            return found
        if time.monotonic() - began > CLEANED:
            raise UpstreamError(
                f"buildset {buildset.uuid} was cancelled, but its job's cleanup has not ended in {CLEANED:.0f} s",
                remedy=f"See {client.page(buildset.uuid)} and, on the node, whether `airlock build` still runs.",
            )
        await asyncio.sleep(INTERVAL)
