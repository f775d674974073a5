"""A build from the moment Zuul took it to its end: the buildset it became, what it waits for, how it ended."""

from __future__ import annotations

import asyncio
import time

from airlock.core.errors import BuildError, StateError, UpstreamError
from airlock.core.progress import Reporter
from airlock.zuul.client import ZuulClient
from airlock.zuul.model import Buildset, Item, ItemJob
from airlock.zuul.order import PARAMETER
from airlock.zuul.outcome import Outcome, outcome_of

INTERVAL = 2.0  # seconds between questions
APPEARS = 90.0  # until what nothing is heard of counts as dropped; Zuul's scheduler may stall for 60
PATIENCE = 120.0  # that Zuul may be unreachable while a build is followed
REMIND = 60.0  # between lines that say that it still waits or runs

# What a job waits for: Zuul's words (waiting_status in zuul.model and zuul.manager), ours.
_WAITS = {
    "nodeset request": "no node is free for it yet",
    "node request": "no node is free for it yet",
    "semaphores": "another build of this site has to end first",
    "executor": "no executor has taken it yet",
    "repo state": "Zuul looks at the repositories",
    "dependencies": "other jobs have to end first",
}


async def find(client: ZuulClient, project: str, pipeline: str, ref: str, commit: str, order: str) -> str:
    """The buildset that an enqueued order became.

    Args:
        order: as it was sent; the buildset's parameters hold it.

    Raises:
        StateError: Zuul dropped it, since another one of the same commit is in the pipeline.
        UpstreamError: nothing was heard of it, or Zuul cannot be reached for longer than ``PATIENCE``.
    """
    heard = reached = time.monotonic()
    known: list[Item] = []
    while True:
        try:
            for buildset in await client.buildsets(project, pipeline):
                if (buildset.parameters or {}).get(PARAMETER) == order:
                    return buildset.uuid
            items = [item for item in (await client.status()).items(pipeline) if item.about(project, ref, commit)]
            known = [item for item in items if item.buildset and await client.buildset(item.buildset)]
            reached = time.monotonic()
            if len(known) < len(items):
                heard = reached  # one that Zuul has not written down yet may be ours
        except UpstreamError:
            if time.monotonic() - reached > PATIENCE:
                raise
        if reached - heard > APPEARS:
            raise _never_appeared(client, f"{project} {ref} at {commit[:12]}", known)
        await asyncio.sleep(INTERVAL)


def _never_appeared(client: ZuulClient, what: str, others: list[Item]) -> StateError | UpstreamError:
    if others:
        page = client.page(others[0].buildset)
        return StateError(
            f"Zuul dropped the build of {what}: another one of the same commit is in the pipeline ({page})",
            remedy="Wait for that one, then trigger again.",
        )
    return UpstreamError(
        f"Zuul took the order to build {what}, but no build came of it in {APPEARS:.0f} s",
        remedy="It may still come: see that Zuul's scheduler runs, and what its page says, before you trigger again.",
    )


async def follow(client: ZuulClient, buildset: str, job: str, limit: float, reporter: Reporter) -> Outcome:
    """Say what becomes of a buildset until it has ended.

    Args:
        limit: seconds; the build goes on beyond them.

    Raises:
        BuildError: it has not ended by then; the message says what it waits for.
        UpstreamError: Zuul cannot be reached for longer than ``PATIENCE``.
    """
    began = reached = time.monotonic()
    said, said_at = "", 0.0
    while True:
        now = time.monotonic()
        try:
            found = await client.buildset(buildset)
            if found and found.result:
                return outcome_of(found, job, client.page(buildset))
            state = await _state(client, buildset, found, job)
            reached = now
        except UpstreamError:
            if now - reached > PATIENCE:
                raise
            state = "Zuul cannot be reached"
        if now - began > limit:
            raise BuildError(
                f"the build has not ended in {limit:.0f} s; {state}",
                remedy=f"It goes on: `airlock trigger follow --buildset {buildset}` waits for its end, "
                f"`airlock trigger cancel --buildset {buildset}` ends it.",
            )
        if state != said or now - said_at > REMIND:
            reporter.say(f"{now - began:5.0f} s  {state}")
            said, said_at = state, now
        await asyncio.sleep(INTERVAL)


async def _state(client: ZuulClient, uuid: str, buildset: Buildset | None, job: str) -> str:
    if buildset is None:
        return "Zuul puts it together"
    for item in (await client.status()).items(buildset.pipeline):
        if item.buildset == uuid:
            return told(next((one for one in item.jobs if one.name == job), None))
    return "it is in no pipeline any more; Zuul writes down how it ended"


def told(job: ItemJob | None) -> str:
    """The state of a job that is in a pipeline, in words."""
    if job is None:
        return "Zuul puts its jobs together"
    if job.result:
        return f"its job has ended ({job.result}); Zuul reports it"
    if job.start_time is not None:
        again = f", try {job.tries}" if (job.tries or 1) > 1 else ""
        return f"it runs as build {job.uuid}{again}"
    waiting = job.waiting_status or ""
    words = _WAITS.get(waiting.partition(":")[0], "")
    return f"it waits: {words} ({waiting})" if words else f"it waits ({waiting or 'for its turn'})"
