"""`airlock trigger` and the job kolla-build-full: from the order to the record."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from boxes.git import push_files
from boxes.zuul_tokens import make_token
from tests.integration.faults.airlock_runs import done, refused
from tests.integration.zuul.conftest import KOLLA, World, until

USAGE, UPSTREAM, STATE, BUILD = 2, 6, 10, 15


def test_a_build_is_triggered_and_followed_and_its_record_is_published(world: World) -> None:
    before = len(world.ledger())
    result = done(world.trigger("CVE-2024-0001", "--json"))
    outcome = world.told(result)
    assert (outcome["result"], outcome["user"]) == ("SUCCESS", "olga")
    record = json.loads(world.get(outcome["record"]))
    details = record["trigger"]["details"]
    assert (record["state"], record["trigger"]["user"], record["trigger"]["reason"]) == (
        "success", "olga", "CVE-2024-0001",
    )  # fmt: skip
    assert (details["buildset"], details["build"]) == (outcome["buildset"], outcome["build"])
    assert (details["commit"], details["ref"], details["project"]) == (world.commit, world.ref, KOLLA)
    assert f"--git=kolla={world.commit}" in record["arguments"]
    assert set(record["environment"]) <= {"PATH", "LC_ALL", "HOME", "LC_CTYPE"}, "no secret is in a job's environment"
    assert world.get(outcome["artifacts"]["logs"] + "base.log") == b"a log\n"
    assert b"sealing a room" in world.get(outcome["log_url"] + "job-output.txt")
    (entry,) = world.ledger()[before:]
    assert entry["verb"] == "trigger"
    assert entry["data"] | {"order": ""} == {
        "bundle": world.bundle, "reason": "CVE-2024-0001", "requester": "olga", "project": KOLLA, "ref": world.ref,
        "commit": world.commit, "pipeline": "build", "buildset": outcome["buildset"], "order": "",
    }  # fmt: skip
    assert world.builds() == []
    (build,) = world.zuul.ask(f"buildset/{outcome['buildset']}")["builds"]
    assert {artifact["name"] for artifact in build["artifacts"]} == {"record", "logs"}


HOSTILE = (
    "--bundle=other",
    "{{ lookup('pipe', 'touch PLACE') }}{% raw %}",
    "$(touch PLACE) `touch PLACE` ; touch PLACE | & > PLACE",
    'it\'s "quoted" \\n \\ \\\\ and é – 日本 #{ }',
    "!unsafe {{ zuul.executor }} {# #} %s %(name)s ${HOME}",
)


def test_what_people_write_arrives_as_it_was_written_and_nobody_evaluates_it(world: World, tmp_path: Path) -> None:
    hostile = "\n".join(HOSTILE).replace("PLACE", str(tmp_path / "evaluated"))
    outcome = world.told(done(world.trigger(hostile, "--json")))
    record = json.loads(world.get(outcome["record"]))
    assert record["trigger"]["reason"] == hostile
    assert f"--reason={hostile}" in record["arguments"]
    assert f"--bundle={world.bundle}" in record["arguments"]
    assert list(tmp_path.iterdir()) == []
    shown = world.zuul.ask(f"buildset/{outcome['buildset']}")["parameters"]
    assert shown["reason"] == hostile, "Zuul shows people what was ordered"


def test_a_build_that_fails_is_an_error_with_its_logs_and_its_record_is_published(world: World) -> None:
    (world.site / "fail").touch()
    result = world.trigger("why")
    assert result.returncode == BUILD
    assert "error: the build failed (FAILURE)" in result.stderr
    told = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if not line.startswith("artifact"))
    assert told["result"] == "FAILURE"
    assert json.loads(world.get(told["record"]))["state"] == "failure"
    assert f"Logs: {told['logs']}" in result.stderr


def test_a_branch_that_gerrit_lacks_is_refused_before_zuul_is_asked(world: World) -> None:
    before = world.buildsets()
    refused(world.trigger("why", "--ref", "stable/none"), STATE, f"no branch stable/none in {KOLLA}", "--ref")
    assert world.buildsets() == before


def test_a_branch_at_another_commit_than_the_bundles_is_refused(world: World) -> None:
    access = world.review.access
    other = push_files(access, KOLLA, "elsewhere", {"README": b"another\n"}, "Another", world.network)
    said = refused(world.trigger("why", "--ref", "elsewhere"), STATE, other, world.commit)
    assert "was made from" in said


@pytest.mark.parametrize("reason", ["", " ", "bell \a", "a" * 1001])
def test_a_reason_that_says_nothing_or_too_much_is_refused(world: World, reason: str) -> None:
    refused(world.trigger(reason), USAGE, "reason")


def test_a_bundle_that_is_not_imported_is_refused_with_the_nearest(world: World) -> None:
    refused(world.trigger("why", bundle=f"{world.bundle}1"), STATE, world.bundle, "airlock import")


def test_while_it_runs_the_same_commit_is_refused_a_follower_may_go_and_a_cancel_ends_it_on_the_node(
    world: World,
) -> None:
    world.work(300)
    taken = world.told(done(world.trigger("a long one", "--no-wait", "--json")))
    assert taken["commit"] == world.commit
    until("the build on the node", world.builds)
    said = refused(world.trigger("again"), STATE, world.commit, "already", taken["buildset"])
    assert "trigger cancel" in said
    result = world.airlock("trigger", "follow", "--buildset", taken["buildset"], "--timeout", "1")
    refused(result, BUILD, "has not ended in 1 s; it runs as build", f"trigger cancel --buildset {taken['buildset']}")
    assert world.builds(), "who follows may go; the build stays"

    cancelled = world.told(done(world.airlock("trigger", "cancel", "--buildset", taken["buildset"], "--json")))
    assert cancelled["result"] == "DEQUEUED"
    assert set(cancelled["builds"].values()) == {"ABORTED"}
    assert world.builds() == [], "once cancel has ended, so has the build"
    assert world.records()[0]["state"] == "interrupted"
    assert world.ledger()[-1]["verb"] == "trigger-cancel"
    result = world.airlock("trigger", "follow", "--buildset", taken["buildset"])
    assert result.returncode == BUILD
    assert "error: the build was cancelled (DEQUEUED)" in result.stderr
    refused(world.airlock("trigger", "cancel", "--buildset", taken["buildset"]), STATE, "has ended (DEQUEUED)")
    (build,) = cancelled["builds"]
    published = world.zuul.logs.files / build
    assert json.loads((published / "airlock/record.json").read_text())["state"] == "interrupted"

    world.work(0)
    assert world.told(done(world.trigger("the next one", "--json")))["result"] == "SUCCESS"


def test_ctrl_c_leaves_the_build_and_says_how_to_go_on(world: World) -> None:
    world.work(300)
    process = world.start("trigger", "build", "--bundle", world.bundle, "--reason=a long one")
    until("the build on the node", world.builds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    (buildset,) = [one["uuid"] for one in world.buildsets() if one["result"] is None]
    assert f"airlock trigger follow --buildset {buildset}" in said
    assert world.builds()


def test_two_builds_of_one_site_wait_for_each_other(world: World) -> None:
    world.work(300)
    first = world.told(done(world.trigger("first", "--no-wait", "--json")))["buildset"]
    until("the build on the node", world.builds)
    rest = world.review.rest(world.review.access.admin)
    rest.call("PUT", "/projects/openstack%2Fkolla/branches/again", {"revision": world.commit})
    result = world.trigger("second", "--ref", "again", "--timeout", "10")
    said = refused(result, BUILD, "another build of this site has to end first")
    second = said.partition("--buildset ")[2].split("`")[0]
    assert len(world.builds()) == 1
    world.work(0)
    done(world.airlock("trigger", "cancel", "--buildset", first))
    assert world.told(done(world.airlock("trigger", "follow", "--buildset", second, "--json")))["result"] == "SUCCESS"


def test_without_a_free_node_it_says_so_until_its_time_is_over(world: World) -> None:
    world.zuul.launcher.stop()
    try:
        result = world.trigger("why", "--timeout", "10")
        said = refused(result, BUILD, "has not ended in 10 s; it waits: no node is free for it yet")
        assert "it waits: no node is free for it yet" in result.stderr.partition("error:")[0], "also while it follows"
    finally:
        world.zuul.launcher.start()
    buildset = said.partition("--buildset ")[2].split("`")[0]
    assert world.told(done(world.airlock("trigger", "follow", "--buildset", buildset, "--json")))["result"] == "SUCCESS"


def test_doctor_tries_the_zuul_that_site_toml_names(world: World) -> None:
    def look() -> dict[str, str]:
        result = world.doctor("--json")
        (check,) = [one for one in json.loads(result.stdout)["checks"] if one["name"] == "Zuul"]
        return dict(check)

    assert look()["state"] == "ok"
    assert "takes the token of olga, and runs kolla-build-full for openstack/kolla" in look()["found"]
    token = world.site / "token"
    good = token.read_text()
    try:
        token.write_text(make_token("another Zuul's secret, of the same length or so", "olga", ["plant-7"]))
        assert "does not know the token (401)" in look()["found"]
        token.write_text(make_token(world.zuul.secret("operators"), "olga", ["another-tenant"]))
        assert "does not let olga administer tenant plant-7" in look()["found"]
    finally:
        token.write_text(good)


def test_a_token_that_zuul_does_not_know_is_told_as_one(world: World, tmp_path: Path) -> None:
    token = world.site / "token"
    good = token.read_text()
    try:
        for secret, lifetime, words in (
            ("another Zuul's secret, of the same length or so", 60, "does not know the token (401)"),
            ("whatever", -60, "expired at"),
        ):
            token.write_text(make_token(secret, "olga", ["plant-7"], lifetime))
            said = refused(world.trigger("why"), USAGE, words)
            assert token.read_text() not in said
        token.write_text(make_token(world.zuul.secret("operators"), "olga", ["another-tenant"]))
        refused(world.trigger("why"), USAGE, "does not let the token administer plant-7 (403)")
        token.chmod(0o644)
        refused(world.trigger("why"), USAGE, "others than its owner may read it", "chmod 600")
    finally:
        token.write_text(good)
        token.chmod(0o600)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('tenant = "none"', USAGE, "has no project openstack/kolla in tenant none"),
        ('project = "openstack/none"', STATE, "Gerrit has no branch"),
        ('project = "definitions"', STATE, "Gerrit has no branch"),
        ('pipeline = "gate"', USAGE, "runs no job kolla-build-full"),
        ('job = "kolla-build-half"', USAGE, "runs no job kolla-build-half"),
        ('address = "http://127.0.0.1:24099"', UPSTREAM, "cannot be reached"),
        ('address = "ADDRESS"', USAGE, "does not answer about project openstack/kolla as Zuul does"),
    ],
)
def test_settings_that_lead_elsewhere_are_told(world: World, line: str, code: int, words: str) -> None:
    path = world.site / "site.toml"
    text = path.read_text()
    key = line.partition(" ")[0]
    head, zuul = text.split("[zuul]\n")
    kept = [one for one in zuul.splitlines() if not one.startswith(f"{key} ")]
    try:
        path.write_text("\n".join([f"{head}[zuul]", line.replace("ADDRESS", world.zuul.logs.address), *kept, ""]))
        refused(world.trigger("why"), code, words)
    finally:
        path.write_text(text)
