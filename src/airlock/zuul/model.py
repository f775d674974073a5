"""Answers of Zuul's REST API, as far as they are used; every other field is passed over.

https://zuul-ci.org/docs/zuul/latest/rest-api.html; the shapes are those of zuul.web's converters and of
``QueueItem.formatJSON``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec


class Artifact(msgspec.Struct, frozen=True):
    """What a build left: a name and an address."""

    name: str
    url: str


class Build(msgspec.Struct, frozen=True):
    """One job's run.

    Attributes:
        result: ``SUCCESS``, ``FAILURE`` …; None while it runs.
        log_url: where its logs lie, once they are published.
        error_detail: what Zuul says of a failure of its own.
        final: False for a run that was tried again; None while it runs.
    """

    uuid: str
    job_name: str = ""
    result: str | None = None
    log_url: str | None = None
    error_detail: str | None = None
    final: bool | None = True
    artifacts: list[Artifact] | None = None


class Ref(msgspec.Struct, frozen=True):
    """What a buildset is about: project, ref, commit."""

    project: str = ""
    ref: str = ""
    newrev: str | None = None


class Buildset(msgspec.Struct, frozen=True):
    """One item's builds together.

    Attributes:
        result: None while it runs.
        user_id: whose token enqueued it, as Zuul knows them.
        parameters: as they were sent.
        refs: what it is about; one, for a build that is triggered by hand.
    """

    uuid: str
    result: str | None = None
    message: str | None = None
    pipeline: str = ""
    user_id: str | None = None
    parameters: dict[str, Any] | None = None
    refs: list[Ref] = []
    builds: list[Build] = []

    @property
    def ref(self) -> Ref:
        """What it is about."""
        return self.refs[0] if self.refs else Ref()


class ItemRef(msgspec.Struct, frozen=True):
    """What an item of a pipeline is about; ``id`` is the commit, for a ref."""

    project: str | None = None
    ref: str | None = None
    id: str | None = None


class ItemJob(msgspec.Struct, frozen=True):
    """A job of an item that is in a pipeline.

    Attributes:
        uuid: the build's, once there is one.
        waiting_status: what it waits for, in Zuul's words; None once it has begun.
        start_time: seconds since the epoch; None until it begins.
    """

    name: str
    uuid: str | None = None
    waiting_status: str | None = None
    start_time: float | None = None
    result: str | None = None
    tries: int | None = None


class Item(msgspec.Struct, frozen=True):
    """Something that is in a pipeline now.

    Attributes:
        live: counts; an item that is not is there for another's sake.
        zuul_ref: ``Z`` and the buildset's UUID; None until it has one.
    """

    refs: list[ItemRef] = []
    live: bool = True
    zuul_ref: str | None = None
    jobs: list[ItemJob] = []

    @property
    def buildset(self) -> str:
        """UUID of its buildset; empty until it has one."""
        return (self.zuul_ref or "").removeprefix("Z")

    def about(self, project: str, ref: str, commit: str = "") -> bool:
        """Whether it is about that ref (at that commit, if one is given)."""
        return any(one.project == project and one.ref == ref and (not commit or one.id == commit) for one in self.refs)


class _Queue(msgspec.Struct, frozen=True):
    heads: list[list[Item]] = []


class _Pipeline(msgspec.Struct, frozen=True):
    name: str
    change_queues: list[_Queue] = []


class Status(msgspec.Struct, frozen=True):
    """What is in a tenant's pipelines now."""

    pipelines: list[_Pipeline] = []

    def items(self, pipeline: str) -> Iterator[Item]:
        """Live items of one pipeline, in their order."""
        for one in self.pipelines:
            if one.name == pipeline:
                for queue in one.change_queues:
                    for head in queue.heads:
                        yield from (item for item in head if item.live)


class Named(msgspec.Struct, frozen=True):
    """Anything that has a name."""

    name: str


class ProjectPipeline(msgspec.Struct, frozen=True):
    """What a project runs in one pipeline; each job is a list of its variants."""

    name: str
    jobs: list[list[Named]] = []
    parameters: list[Named] = []


class _ProjectConfig(msgspec.Struct, frozen=True):
    pipelines: list[ProjectPipeline] = []


class _Administers(msgspec.Struct, frozen=True):
    admin: bool = False


class Authorizations(msgspec.Struct, frozen=True):
    """What a token may do in a tenant."""

    zuul: _Administers


class Project(msgspec.Struct, frozen=True):
    """A project's configuration in a tenant, from every place that says something of it."""

    name: str = ""
    configs: list[_ProjectConfig] = []

    def jobs(self, pipeline: str) -> set[str]:
        """Names of the jobs that it runs in a pipeline."""
        return {job.name for one in self._in(pipeline) for variants in one.jobs for job in variants}

    def parameters(self, pipeline: str) -> set[str]:
        """Names of the parameters that it takes there."""
        return {parameter.name for one in self._in(pipeline) for parameter in one.parameters}

    def _in(self, pipeline: str) -> Iterator[ProjectPipeline]:
        return (one for config in self.configs for one in config.pipelines if one.name == pipeline)
