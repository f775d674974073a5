"""Have the site's Zuul build a bundle, and refuse before it is asked what it would get wrong without a word.

Zuul answers yes to a branch that Gerrit lacks (and builds another one's head), to a commit that is in the pipeline
already (and drops it), and to a parameter that no job declares.
"""

from __future__ import annotations

import os
import uuid

import msgspec

from airlock.bundle.manifest import Manifest
from airlock.bundle.stored import open_bundle
from airlock.core.errors import StateError, UsageError
from airlock.core.gerrit_settings import GerritPlace
from airlock.core.progress import Reporter
from airlock.core.settings import Site
from airlock.core.zuul_settings import ZuulPlace
from airlock.evidence import ledger
from airlock.evidence.asked import checked_name, required_reason
from airlock.gerrit.client import GerritClient
from airlock.site.zuul_access import client_of, require_job, zuul_of
from airlock.store.opening import open_store
from airlock.zuul.client import ZuulClient
from airlock.zuul.follow import find
from airlock.zuul.order import PARAMETER, Order

HEADS = "refs/heads/"


class Triggered(msgspec.Struct, frozen=True, kw_only=True):
    """A build that Zuul has taken; ``page`` is where a person sees it."""

    buildset: str
    page: str
    project: str
    ref: str
    commit: str
    requester: str


async def trigger(site: Site, bundle: str, reason: str, ref: str, reporter: Reporter) -> Triggered:
    """Order a build and return the buildset that Zuul made of it.

    Args:
        bundle: id of an imported bundle.
        ref: a branch of the project; ``bundle/<bundle>``, which ``airlock import`` seeds, where it is empty.

    Raises:
        UsageError: no reason, no Gerrit or Zuul in the settings, or a Zuul without this project, pipeline and job.
        StateError: the bundle is not imported, Gerrit lacks the branch, it is at another commit than the bundle names,
            or that commit is being built already.
        UpstreamError: Gerrit or Zuul cannot be reached, or refuse.
    """
    required_reason(reason)
    place = zuul_of(site)
    if site.gerrit is None:
        raise UsageError(
            "site.toml has no [gerrit]: what a branch is at cannot be looked up, and Zuul must not guess it",
            remedy="docs/formats/settings.md has the keys.",
        )
    client, requester = client_of(place)
    with open_store(site) as store:
        stored = open_bundle(store, bundle)
    ref = full_ref(ref or f"bundle/{bundle}")
    commit = await _commit_of(site.gerrit, place.project, ref)
    git = _repository(site.gerrit, place.project, stored.manifest)
    if git and (named := stored.manifest.git[git]) != commit:
        raise StateError(
            f"{ref} of {place.project} is at {commit} in Gerrit; bundle {bundle} was made from {named}",
            remedy="Trigger the branch that is at the bundle's commit, or make a bundle of this one.",
        )
    order = Order(
        id=str(uuid.uuid4()),
        bundle=bundle,
        reason=reason,
        requester=checked_name(requester, "the token's sub"),
        account=ledger.current_user(),
        host=os.uname().nodename,
        project=place.project,
        ref=ref,
        commit=commit,
        git=git,
    )
    async with client:
        await require_job(client, place)
        await _require_room(client, place, ref, commit)
        parameters = order.parameters()
        await client.enqueue(place.project, place.pipeline, ref, commit, parameters)
        reporter.say(f"Zuul took the order: {place.project} {ref} at {commit}")
        buildset = ""
        try:
            buildset = await find(client, place.project, place.pipeline, ref, commit, parameters[PARAMETER])
        finally:
            _note(site, place.pipeline, order, buildset)
        return Triggered(
            buildset=buildset,
            page=client.page(buildset),
            project=place.project,
            ref=ref,
            commit=commit,
            requester=requester,
        )


def full_ref(name: str) -> str:
    """``refs/heads/…`` of a branch's name.

    Raises:
        UsageError: it is a ref of another kind.
    """
    if name.startswith("refs/") and not name.startswith(HEADS):
        raise UsageError(f"{name} is no branch", remedy="Name a branch, with or without refs/heads/ before it.")
    return HEADS + checked_name(name.removeprefix(HEADS), "--ref")


async def _commit_of(gerrit: GerritPlace, project: str, ref: str) -> str:
    branch = ref.removeprefix(HEADS)
    async with GerritClient(gerrit) as client:
        commit = await client.branch(project, branch)
    if commit is None:
        raise StateError(
            f"Gerrit has no branch {branch} in {project}; Zuul would build another one's head",
            remedy="`airlock import` of the bundle seeds bundle/<its id>; or name a branch that is there with --ref.",
        )
    return commit


def _repository(gerrit: GerritPlace, project: str, manifest: Manifest) -> str:
    """The repository of the bundle that is seeded as this project; empty if there is none, and nothing to compare."""
    return next((name for name in manifest.git if gerrit.project(name) == project), "")


async def _require_room(client: ZuulClient, place: ZuulPlace, ref: str, commit: str) -> None:
    for item in (await client.status()).items(place.pipeline):
        if item.about(place.project, ref, commit):
            page = client.page(item.buildset) if item.buildset else f"{client.address}/t/{client.tenant}/status"
            raise StateError(
                f"{ref} of {place.project} at {commit} is in pipeline {place.pipeline} already ({page}); "
                "Zuul would drop a second one",
                remedy="Wait for it, or cancel it: `airlock trigger cancel --buildset UUID`.",
            )


def _note(site: Site, pipeline: str, order: Order, buildset: str) -> None:
    ledger.append(
        site.ledger,
        "trigger",
        {
            "bundle": order.bundle,
            "reason": order.reason,
            "requester": order.requester,
            "project": order.project,
            "ref": order.ref,
            "commit": order.commit,
            "pipeline": pipeline,
            "buildset": buildset,
            "order": order.id,
        },
    )
