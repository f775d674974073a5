"""Questions to a lock alone: every file's askers and every image's chain, by any name people know a file by."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import UsageError
from airlock.lock.explain import explain, find_artifacts, why
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock
from airlock.lock.survey import survey

SHA = "0" * 64


def artifact(kind: str, name: str, version: str, sha256: str, size: int = 10, **more: object) -> Artifact:
    ends = {"deb": f"{name}_{version}_all.deb", "wheel": f"{name}-{version}-py3-none-any.whl"}
    file = ends.get(kind, f"{name}-{version}.tar.gz")
    found = Artifact(f"{kind}/{file}", kind, name, version, "all", file, sha256, size, "debian", file, "signed-index")  # type: ignore[arg-type]
    return msgspec.structs.replace(found, **more)


TOOL = artifact("deb", "tool", "1", "a1" * 32, 100)
LIB = artifact("deb", "libtool", "1", "b2" * 32, 20)
SDIST = artifact("sdist", "gssapi", "1.8", "c3" * 32)
OLD = artifact("wheel", "setuptools", "67", "d4" * 32)
NEW = artifact("wheel", "setuptools", "80", "d4" * 31 + "00")


def demand(image: str, line: int, kind: str, spec: str, *found: Artifact) -> Demand:
    return Demand("x86_64", image, line, kind, spec, tuple(sorted(one.id for one in found)))  # type: ignore[arg-type]


@pytest.fixture
def lock() -> Lock:
    parents = {"base": "", "middle": "base", "api": "middle", "other": "base"}
    return make_lock(
        release="r",
        definition=SHA,
        kolla={},
        witness=SHA,
        requires={},
        images=[Image("debian", "x86_64", name, parent, SHA, SHA, SHA) for name, parent in parents.items()],
        demands=[
            demand("base", 3, "apt", "-y install tool", TOOL, LIB),
            demand("other", 3, "apt", "install libtool=1", LIB),
            demand("middle", 9, "python", "install requests-gssapi", SDIST),
            demand("middle", 9, "python-build", SDIST.file, OLD),
            demand("", 0, "tool", "kolla", NEW),
        ],
        artifacts=[TOOL, LIB, SDIST, OLD, NEW],
    )


def test_a_file_is_found_by_id_name_file_and_digest(lock: Lock) -> None:
    for words in ("deb/tool_1_all.deb", "tool_1_all.deb", "tool", "a1a1a1", "sha256:A1A1A1A1", TOOL.sha256):
        assert find_artifacts(lock, words) == [TOOL]


def test_words_that_fit_several_files_give_all_of_them(lock: Lock) -> None:
    assert find_artifacts(lock, "setuptools") == [OLD, NEW]
    assert find_artifacts(lock, "Setup.Tools".replace(".", "")) == [OLD, NEW]
    assert find_artifacts(lock, "d4d4d4") == [OLD, NEW]


def test_what_is_not_there_is_said_with_the_nearest_names(lock: Lock) -> None:
    with pytest.raises(UsageError) as caught:
        find_artifacts(lock, "libtol")
    assert "libtool" in caught.value.remedy
    with pytest.raises(UsageError) as caught:
        explain(lock, "midle", {})
    assert "middle" in caught.value.remedy


def test_a_dependency_is_told_from_what_a_command_names(lock: Lock) -> None:
    found = why(lock, LIB)
    assert [(one.image, one.named, one.built_on) for one in found.asked] == [
        ("base", False, ("api", "middle", "other")),
        ("other", True, ()),
    ]
    assert found.images == 4


def test_what_builds_an_sdist_leads_to_the_command_that_asks_for_it(lock: Lock) -> None:
    (asker,) = why(lock, OLD).asked
    assert (asker.image, asker.chain, asker.through) == ("middle", ("base",), "install requests-gssapi")
    (tool,) = why(lock, NEW).asked
    assert (tool.image, tool.kind) == ("", "tool")


def test_an_image_is_explained_with_its_chain_demands_and_sizes(lock: Lock) -> None:
    (found,) = explain(lock, "api", {"x86_64": {"api": ("grafana",)}})
    assert [one.name for one in found.chain] == ["middle", "base"]
    assert (found.own.size, found.whole.size, found.stand_ins) == (0, 140, ("grafana",))
    (middle,) = explain(lock, "middle", {})
    assert [(one.line, one.kind, one.size) for one in middle.demands] == [(9, "python", 10), (9, "python-build", 10)]


def test_an_answer_that_the_lock_lacks_is_said_not_left_out(lock: Lock) -> None:
    damaged = msgspec.structs.replace(lock, artifacts=tuple(one for one in lock.artifacts if one != LIB))
    (found,) = explain(damaged, "base", {})
    assert found.demands[0].lacking == (LIB.id,)


def test_what_is_shared_is_counted_once(lock: Lock) -> None:
    shared = survey(lock).shared
    assert (shared.files.files, shared.saved) == (1, 20)
    assert shared.most[0].id == LIB.id


@given(st.data())
def test_sizes_with_ancestors_are_those_of_the_union(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    files = [artifact("deb", f"p{n}", "1", f"{n:064x}", n + 1) for n in range(6)]
    chosen = [data.draw(st.sets(st.sampled_from(range(6)))) for _ in range(count)]
    parents = [data.draw(st.integers(-1, n - 1)) for n in range(count)]
    lock = make_lock(
        release="r",
        definition=SHA,
        kolla={},
        witness=SHA,
        requires={},
        images=[
            Image("debian", "x86_64", f"i{n}", f"i{parent}" if parent >= 0 else "", SHA, SHA, SHA)
            for n, parent in enumerate(parents)
        ],
        demands=[demand(f"i{n}", 1, "apt", "install", *(files[one] for one in own)) for n, own in enumerate(chosen)],
        artifacts=files,
    )

    def whole(n: int) -> set[int]:
        return chosen[n] | (whole(parents[n]) if parents[n] >= 0 else set())

    for facts in survey(lock).images:
        number = int(facts.name[1:])
        assert facts.own.size == sum(one + 1 for one in chosen[number])
        assert facts.whole.size == sum(one + 1 for one in whole(number))
