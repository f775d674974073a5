"""What stands on a stand-in says so: its artifacts in the lock, its image and every image built on that in a report."""

import asyncio
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import StateError
from airlock.core.settings import FetchTable, UpstreamTable
from airlock.fetch.transcript import parse_transcript
from airlock.fetch.witness import Witness
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock, read_lock
from airlock.lock.stand_ins import imitations, marked, mismarked, proven, require_real, stand_in_names
from airlock.store.pool import Pool

SHA = "0" * 64


def deb(name: str, upstream: str = "debian", **more: object) -> Artifact:
    file = f"{name}_1_all.deb"
    found = Artifact(f"deb/{file}", "deb", name, "1", "all", file, SHA, 1, upstream, f"pool/{file}", "signed-index")
    return msgspec.structs.replace(found, **more)


def lock_of(parents: list[int], artifacts: list[Artifact]) -> Lock:
    """Images ``i0``, ``i1`` …: each with the parent of that number (itself: none) and one artifact."""
    return make_lock(
        release="r",
        definition=SHA,
        kolla={},
        witness=SHA,
        requires={},
        images=[
            Image("debian", "x86_64", f"i{number}", "" if parent == number else f"i{parent}", SHA, SHA, SHA)
            for number, parent in enumerate(parents)
        ],
        demands=[
            Demand("x86_64", f"i{number}", 1, "apt", "install it", (found.id,))
            for number, found in enumerate(artifacts)
        ],
        artifacts=artifacts,
    )


def test_a_lock_without_stand_ins_is_written_as_it_always_was():
    assert "stand_in" not in lock_of([0], [deb("a")]).to_bytes().decode()
    assert '"suite":""' in lock_of([0], [deb("a")]).to_bytes().decode()


def test_what_comes_from_a_stand_in_carries_it_in_the_lock():
    found = marked([deb("a"), deb("b", "grafana")], {"grafana"})
    assert [one.stand_in for one in found] == [False, True]
    lock = lock_of([0, 1], found)
    assert json.loads(lock.to_bytes().splitlines()[-1])["stand_in"] is True
    assert read_lock(lock.to_bytes()) == lock


def test_what_the_factory_made_of_a_stand_in_carries_it_too():
    made = deb("kolla", "airlock", trust="made")
    assert marked([made], {"kolla"})[0].stand_in
    assert not marked([made], {"airlock"})[0].stand_in


@given(st.data())
def test_an_image_stands_on_what_its_ancestors_stand_on(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    parents = [data.draw(st.integers(0, number)) for number in range(count)]
    imitated = data.draw(st.sets(st.integers(0, count - 1)))
    upstreams = [f"s{number}" if number in imitated else "debian" for number in range(count)]
    lock = lock_of(
        parents, marked([deb(f"d{n}", upstream) for n, upstream in enumerate(upstreams)], set(upstreams) - {"debian"})
    )

    def below(number: int) -> set[int]:
        own = {number} & imitated
        return own if parents[number] == number else own | below(parents[number])

    expected = {f"i{n}": tuple(sorted(f"s{one}" for one in below(n))) for n in range(count) if below(n)}
    found = proven(lock)
    assert found.against.get("x86_64", {}) == expected
    assert (found.real, found.stand_ins) == (count - len(expected), len(expected))
    named = {
        image: [f"deb/{name.replace('s', 'd')}_1_all.deb" for name in against] for image, against in expected.items()
    }
    assert imitations(lock, "x86_64") == {image: sorted(ids) for image, ids in named.items()}
    assert imitations(lock, "aarch64") == {}


def test_parents_that_go_in_circles_do_not_hang_the_count():
    lock = lock_of([1, 0], marked([deb("a", "s"), deb("b")], {"s"}))
    assert proven(lock).stand_ins == 2
    assert str(proven(lock)) == "0 images proven on real inputs, 2 against stand-ins"


def test_a_site_that_takes_no_stand_ins_is_told_which_images_have_some():
    require_real(lock_of([0, 0], [deb("a"), deb("b")]), "bundle b")
    with pytest.raises(
        StateError, match=r"bundle b: 1 image proven .* 1 against .*: i1 \(x86_64\) have .* grafana"
    ) as said:
        require_real(lock_of([0, 0], marked([deb("a"), deb("b", "grafana")], {"grafana"})), "bundle b")
    assert "real upstreams" in said.value.remedy


def test_a_lock_solved_again_says_the_same_whatever_the_settings_say_by_then(tmp_path):
    pool = Pool(tmp_path / "pool")
    imitation = {
        "grafana": UpstreamTable("http://127.0.0.1:9", stand_in=True),
        "x": UpstreamTable("http://127.0.0.1:9"),
    }

    async def recorded() -> bytes:
        async with Witness.record(pool, {}, FetchTable()) as witness:
            assert stand_in_names(witness, imitation) == {"grafana"}
            return witness.transcript()

    async def again(sha256: str) -> frozenset[str]:
        async with Witness.replay(pool, sha256) as witness:
            return stand_in_names(witness, {})

    assert asyncio.run(again(pool.add_bytes(asyncio.run(recorded())))) == {"grafana"}


def test_no_stand_in_leaves_no_trace_in_the_transcript(tmp_path):
    async def recorded() -> bytes:
        async with Witness.record(Pool(tmp_path / "pool"), {}, FetchTable()) as witness:
            assert stand_in_names(witness, {"x": UpstreamTable("http://127.0.0.1:9")}) == frozenset()
            return witness.transcript()

    assert parse_transcript(asyncio.run(recorded())).entries() == []


@pytest.mark.parametrize("real", [True, False])
def test_a_mark_that_was_taken_from_a_lock_or_put_in_is_noticed(tmp_path, real: bool):
    pool = Pool(tmp_path / "pool")
    imitation = {} if real else {"grafana": UpstreamTable("http://127.0.0.1:9", stand_in=True)}

    async def recorded() -> bytes:
        async with Witness.record(pool, {}, FetchTable()) as witness:
            stand_in_names(witness, imitation)
            return witness.transcript()

    transcript = pool.add_bytes(asyncio.run(recorded()))
    whole = lock_of([0, 0], marked([deb("a"), deb("b", "grafana")], imitation))
    whole = msgspec.structs.replace(whole, header=msgspec.structs.replace(whole.header, witness=transcript))
    assert list(mismarked(whole, pool)) == []
    artifacts = tuple(
        msgspec.structs.replace(one, stand_in=not one.stand_in) if one.upstream == "grafana" else one
        for one in whole.artifacts
    )
    ((found, said),) = mismarked(msgspec.structs.replace(whole, artifacts=artifacts), pool)
    assert found.id == "deb/b_1_all.deb"
    assert said == f"comes from grafana, which is {'no stand-in' if real else 'a stand-in'}, and is marked otherwise"
