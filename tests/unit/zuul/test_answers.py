"""Answers of a real Zuul 14.3, as they were recorded, and what is read from them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from airlock.core.errors import BuildError
from airlock.zuul.follow import told
from airlock.zuul.model import Build, Buildset, ItemJob, Project, Status
from airlock.zuul.outcome import outcome_of, require_success

ANSWERS = Path(__file__).parent / "answers"
JOB = "kolla-build-full"
KOLLA, REF = "openstack/kolla", "refs/heads/bundle/x-r1"
FIRST, THIRD = "71902f9e1a4b92bb2512de31fab33b1b3dcace4b", "794ea323bcea88f55199d2901ef0838288f2206e"
T = TypeVar("T")


def answer(name: str, kind: type[T]) -> T:
    return msgspec.json.decode((ANSWERS / name).read_bytes(), type=kind)


def test_a_project_says_what_runs_in_its_pipelines_and_with_what_parameters():
    project = answer("project.json", Project)
    assert project.jobs("build") == {JOB}
    assert "airlock_order" in project.parameters("build")
    assert project.jobs("check") == set()


def test_items_of_a_pipeline_stand_in_their_order_with_their_buildsets():
    items = list(answer("status.json", Status).items("build"))
    assert [item.refs[0].id for item in items] == [FIRST, "794ea32" + "0" * 33, THIRD]
    assert items[0].buildset == "d8196cb04eb94728bdb86e09ea2cdd73"
    assert all(item.about(KOLLA, REF) for item in items)
    assert [item.about(KOLLA, REF, THIRD) for item in items] == [False, False, True]
    assert not items[0].about("openstack/nova", REF)
    assert list(answer("status.json", Status).items("check")) == []


def test_an_item_that_is_there_for_another_is_none_of_ours():
    status = answer("status.json", Status)
    queue = status.pipelines[0].change_queues[0]
    queue.heads[0][0] = msgspec.structs.replace(queue.heads[0][0], live=False)
    assert len(list(status.items("build"))) == 2


def test_what_a_job_waits_for_is_said_in_words():
    first, second, _ = answer("status.json", Status).items("build")
    assert told(first.jobs[0]) == "it runs as build 8f8c3f4b1e0b4fdd8b44cb9ca055e2d2"
    assert told(second.jobs[0]) == "it waits: another build of this site has to end first (semaphores: airlock-site)"


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (None, "Zuul puts its jobs together"),
        (
            ItemJob(name=JOB, waiting_status="nodeset request: ad23"),
            "no node is free for it yet (nodeset request: ad23)",
        ),
        (ItemJob(name=JOB, waiting_status="executor"), "no executor has taken it yet"),
        (ItemJob(name=JOB, waiting_status="the moon: full"), "it waits (the moon: full)"),
        (ItemJob(name=JOB), "it waits (for its turn)"),
        (ItemJob(name=JOB, start_time=1.0, uuid="b1", tries=2), "it runs as build b1, try 2"),
        (ItemJob(name=JOB, start_time=1.0, uuid="b1", result="FAILURE"), "its job has ended (FAILURE)"),
    ],
)
def test_every_state_of_a_job_has_words(job, words):
    assert words in told(job)


def test_a_build_that_succeeded_tells_its_artifacts():
    outcome = outcome_of(answer("buildset-success.json", Buildset), JOB, "page")
    require_success(outcome)
    assert (outcome.buildset, outcome.build) == ("836add51cb184536917776e0c843d164", "41a3008f9a594fec97a71c263ede0c75")
    assert (outcome.result, outcome.user) == ("SUCCESS", "olga")
    assert outcome.record == outcome.log_url + "job-output.txt"


def test_a_build_that_was_cancelled_says_so():
    outcome = outcome_of(answer("buildset-cancelled.json", Buildset), JOB, "page")
    assert (outcome.result, outcome.job_result, outcome.record) == ("DEQUEUED", "ABORTED", "")
    with pytest.raises(BuildError, match=r"was cancelled \(DEQUEUED\)") as caught:
        require_success(outcome)
    assert "page" in caught.value.remedy


@pytest.mark.parametrize(
    ("result", "job_result", "words"),
    [
        ("FAILURE", "FAILURE", r"failed \(FAILURE\)"),
        ("FAILURE", "RETRY_LIMIT", r"could not be started: .*\(RETRY_LIMIT\)"),
        ("FAILURE", "TIMED_OUT", "longer than its job may"),
        ("FAILURE", "POST_FAILURE", "its logs could not be"),
        ("FAILURE", "NODE_FAILURE", "was given no node"),
        ("CONFIG_ERROR", "", "Zuul's configuration"),
        ("SOMETHING_NEW", "", r"failed \(SOMETHING_NEW\)"),
    ],
)
def test_every_other_end_is_an_error_in_words(result, job_result, words):
    builds = [Build(uuid="b1", job_name=JOB, result=job_result, error_detail="why")] if job_result else []
    with pytest.raises(BuildError, match=words):
        require_success(outcome_of(Buildset(uuid="s1", result=result, builds=builds), JOB, "page"))


def test_of_several_tries_the_last_one_counts():
    tries = [
        Build(uuid="b1", job_name=JOB, result="RETRY", final=False),
        Build(uuid="other", job_name="other", result="FAILURE"),
        Build(uuid="b2", job_name=JOB, result="SUCCESS"),
    ]
    assert outcome_of(Buildset(uuid="s1", result="SUCCESS", builds=tries), JOB, "page").build == "b2"
