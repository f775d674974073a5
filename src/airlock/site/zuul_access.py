"""The site's Zuul, as site.toml names it: a client, whose token it has, and whether it would build."""

from __future__ import annotations

from airlock.core.errors import UsageError
from airlock.core.secrets import read_secret
from airlock.core.settings import Site
from airlock.core.zuul_settings import ZuulPlace
from airlock.zuul.client import ZuulClient
from airlock.zuul.order import PARAMETER
from airlock.zuul.token import claims

JOBS = "Put zuul/ of this program into the site's config project, or bring it up to date (zuul/README.md)."


def zuul_of(site: Site) -> ZuulPlace:
    """The site's Zuul.

    Raises:
        UsageError: site.toml names none.
    """
    if site.zuul is None:
        raise UsageError(
            "site.toml has no [zuul]: this site has no Zuul to ask",
            remedy="docs/formats/settings.md has the keys; `airlock build` builds without Zuul.",
        )
    return site.zuul


def client_of(place: ZuulPlace) -> tuple[ZuulClient, str]:
    """A client, and whose token it has.

    Raises:
        UsageError: the token is none, is expired, or others may read it.
    """
    token = read_secret(place.token_file)
    return ZuulClient(place.address, place.tenant, token), claims(token, str(place.token_file)).sub


async def require_job(client: ZuulClient, place: ZuulPlace) -> None:
    """See that the project runs the job in the pipeline, and that what is ordered would reach it.

    Raises:
        UsageError: it does not, or it would not.
    """
    project = await client.project(place.project)
    if place.job not in project.jobs(place.pipeline):
        raise UsageError(
            f"Zuul runs no job {place.job} for {place.project} in its pipeline {place.pipeline}", remedy=JOBS
        )
    if PARAMETER not in project.parameters(place.pipeline):
        raise UsageError(
            f"Zuul's pipeline {place.pipeline} takes no parameter {PARAMETER} for {place.project}; it would be dropped",
            remedy=JOBS,
        )
