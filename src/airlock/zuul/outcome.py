"""How a build that Zuul ran has ended, in words for a person."""

from __future__ import annotations

import msgspec

from airlock.core.errors import BuildError
from airlock.zuul.model import Build, Buildset

SUCCESS = "SUCCESS"

_WORDS = {
    "DEQUEUED": "was cancelled",
    "CANCELED": "was cancelled",
    "ABORTED": "was broken off by Zuul's executor",
    "RETRY_LIMIT": "could not be started: its node was not reached, or the commit could not be checked out",
    "NODE_FAILURE": "was given no node: no provider has the node that the job asks for",
    "TIMED_OUT": "took longer than its job may",
    "POST_FAILURE": "ran, but its logs could not be fetched or published",
    "CONFIG_ERROR": "could not be put together from Zuul's configuration",
    "NO_JOBS": "has no job in this pipeline",
    "MERGE_CONFLICT": "could not be merged",
}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a build ended.

    Attributes:
        buildset, build: UUIDs; ``build`` is empty where the job was never started.
        page: where a person sees it.
        result: Zuul's word for the buildset; ``job_result`` for the job, which may say more.
        detail: what Zuul says of a failure of its own.
        user: whose token enqueued it, as Zuul knows them.
        artifacts: name → address.
        record: address of the build's record; empty where there is none.
    """

    buildset: str
    build: str
    page: str
    result: str
    job_result: str
    detail: str
    user: str
    log_url: str
    artifacts: dict[str, str]
    record: str


def outcome_of(buildset: Buildset, job: str, page: str) -> Outcome:
    """What a buildset that has ended says of its one job."""
    mine = [build for build in buildset.builds if build.job_name == job]
    # Tries that were given up are not final.
    build = next((build for build in mine if build.final), mine[-1] if mine else Build(uuid=""))
    artifacts = {artifact.name: artifact.url for artifact in build.artifacts or ()}
    return Outcome(
        buildset=buildset.uuid,
        build=build.uuid,
        page=page,
        result=buildset.result or "",
        job_result=build.result or "",
        detail=build.error_detail or "",
        user=buildset.user_id or "",
        log_url=build.log_url or "",
        artifacts=artifacts,
        record=artifacts.get("record", ""),
    )


def require_success(outcome: Outcome) -> None:
    """Go on only if the build succeeded.

    Raises:
        BuildError: it did not; how, and where the logs lie.
    """
    if outcome.result == SUCCESS:
        return
    word = outcome.result if outcome.result in _WORDS else outcome.job_result or outcome.result
    detail = f": {outcome.detail}" if outcome.detail else ""
    raise BuildError(
        f"the build {_WORDS.get(word, 'failed')} ({word}){detail}",
        remedy=f"Logs: {outcome.log_url}" if outcome.log_url else f"See {outcome.page}",
    )
