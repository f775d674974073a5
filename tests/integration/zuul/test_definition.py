"""The factory's half: changes to a release definition get a vote, with the reason."""

from __future__ import annotations

from pathlib import Path

from tests.integration.zuul.conftest import World, until

HOSTILE = "{{ lookup('pipe', 'touch PLACE') }}"


def test_a_good_change_gets_plus_one_and_a_bad_one_minus_one_with_the_reason_on_the_file(
    world: World, tmp_path: Path
) -> None:
    hostile = HOSTILE.replace("PLACE", str(tmp_path / "evaluated"))
    good = world.change(tmp_path / "good", 'name = "stream"\nimages = ["keystone"]\n')
    bad = world.change(tmp_path / "bad", f'name = "WRONG"\nwhat = "{hostile}"\n')
    assert until("a vote on the good change", lambda: world.vote(good)) == 1
    assert until("a vote on the bad change", lambda: world.vote(bad)) == -1
    (comment,) = until("the comment", lambda: world.ask_review(f"/changes/{bad}/comments").get("stream/release.toml"))
    assert "airlock lock --check ends with 3" in comment["message"]
    assert hostile in comment["message"], "what the change says is quoted, and nobody evaluates it"
    assert world.ask_review(f"/changes/{good}/comments") == {}
    assert not (tmp_path / "evaluated").exists()


def test_recheck_votes_again(world: World, tmp_path: Path) -> None:
    ident = world.change(tmp_path, 'name = "stream"\nimages = ["base"]\n')
    until("the first vote", lambda: world.vote(ident) == 1)
    rest = world.review.rest(world.review.access.reviewer)
    rest.call("POST", f"/changes/{ident}/revisions/current/review", {"message": "recheck"})

    def votes() -> int:
        messages = world.ask_review(f"/changes/{ident}/detail")["messages"]
        return sum("Build succeeded" in message["message"] for message in messages)

    until("the second vote", lambda: votes() == 2)


def test_what_is_approved_is_checked_once_more_and_merged(world: World, tmp_path: Path) -> None:
    ident = world.change(tmp_path, 'name = "stream"\nimages = ["openstack-base"]\n')
    until("the vote", lambda: world.vote(ident) == 1)
    world.approve(ident)
    until("its merge", lambda: world.ask_review(f"/changes/{ident}/detail")["status"] == "MERGED")
