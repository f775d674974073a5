"""What a name frees of a lock's answers, and what then differs between two locks."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.cli.difference_lines import difference_lines
from airlock.cli.lock import split_words
from airlock.core.errors import UsageError
from airlock.core.settings import FetchTable
from airlock.fetch.frozen import Anew, Frozen
from airlock.fetch.transcript import Entry, Transcript, absent
from airlock.fetch.witness import Witness
from airlock.lock.difference import difference
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock
from airlock.lock.update import anew
from airlock.store.pool import Pool

SHA = "0" * 64


def artifact(kind: str, name: str, version: str, upstream: str, path: str, trust: str = "first-seen") -> Artifact:
    file = path.rpartition("/")[2]
    digest = f"{abs(hash((file, version))):064x}"[-64:]
    return Artifact(f"{kind}/{file}", kind, name, version, "any", file, digest, 10, upstream, path, trust)  # type: ignore[arg-type]


DEB = artifact("deb", "libc6", "2.36", "debian", "pool/libc6_2.36_amd64.deb", "signed-index")
WHEEL = artifact("wheel", "pbr", "6.0.0", "pypi", "pbr/pbr-6.0.0-py3-none-any.whl")
BRANCH = artifact("source", "keystone", "2024.1", "opendev", "openstack/keystone/keystone-2024.1.tar.gz")
RELEASE = artifact("source", "openstack-heat", "22.0.1", "pypi", "openstack-heat/openstack-heat-22.0.1.tar.gz")
MADE = artifact("source", "requirements", "1", "airlock", "requirements.tar.gz", "made")
OTHER = artifact("file", "x", "", "galaxy", "api/v3/artifacts/community-general-8.tar.gz")
COLLECTION = msgspec.structs.replace(OTHER, name="community.general")
REPOSITORY = artifact("git", "config", "c" * 40, "airlock", "config-cccc.bundle", "made")
ALL = [DEB, WHEEL, BRANCH, RELEASE, MADE, COLLECTION, REPOSITORY]


def lock_of(artifacts: list[Artifact], **fields: str) -> Lock:
    by_kind = {"deb": "apt", "wheel": "python", "source": "source", "file": "file"}
    demands = [
        Demand(
            "x86_64",
            "api",
            3,
            by_kind[one.kind],  # type: ignore[arg-type]
            {"keystone": "keystone-base"}.get(one.name, f"install {one.name}"),
            (one.id,),
        )
        for one in artifacts
        if one.kind != "git"
    ]
    lines = [Image("debian", "x86_64", name, parent, SHA, SHA, SHA) for name, parent in (("api", ""), ("on-it", "api"))]
    return make_lock(
        **({"release": "r", "definition": SHA, "witness": SHA} | fields),  # type: ignore[arg-type]
        kolla={"version": "18.8.0"},
        requires={},
        images=lines,
        demands=demands,
        artifacts=artifacts,
    )


def entry(upstream: str, path: str, pool: Pool | None = None) -> Entry:
    data = f"{upstream}/{path}".encode()
    sha256 = pool.add_bytes(data) if pool else SHA
    return Entry(upstream, path, 200, sha256, len(data))


PATHS = [
    ("debian", "dists/bookworm/InRelease"),
    ("debian", "dists/bookworm/main/binary-amd64/Packages.xz"),
    ("debian", "pool/libc6_2.36_amd64.deb"),
    ("pypi", "pbr/"),
    ("pypi", "files/pbr/pbr-6.0.0-py3-none-any.whl.metadata"),
    ("pypi", "pbr-extras/"),
    ("pypi", "openstack-heat/"),
    ("opendev", "openstack/keystone/keystone-2024.1.tar.gz"),
    ("opendev", "openstack/nova/nova-2024.1.tar.gz"),
    ("galaxy", "api/v3/collections/index/community/general/versions/?limit=100"),
    ("galaxy", "api/v3/collections/index/community/docker/versions/?limit=100"),
    ("", "git/config/main"),
    ("", "upstreams"),
]
FREES = {
    "debian": {path for path in PATHS if path[0] == "debian"},
    "pbr": {("pypi", "pbr/"), ("pypi", "files/pbr/pbr-6.0.0-py3-none-any.whl.metadata")},
    "PBR": {("pypi", "pbr/"), ("pypi", "files/pbr/pbr-6.0.0-py3-none-any.whl.metadata")},
    "keystone-base": {("opendev", "openstack/keystone/keystone-2024.1.tar.gz")},
    "keystone": {("opendev", "openstack/keystone/keystone-2024.1.tar.gz")},
    "openstack-heat": {("pypi", "openstack-heat/")},
    "community.general": {("galaxy", "api/v3/collections/index/community/general/versions/?limit=100")},
    "config": {("", "git/config/main")},
}


@pytest.mark.parametrize("name", FREES)
def test_a_name_frees_what_belongs_to_it_and_nothing_else(name: str) -> None:
    entries = [entry(*path) for path in PATHS]
    found = anew(lock_of(ALL), Transcript(entries), [name])
    assert {one.key for one in entries if found.asks(one)} == FREES[name]


def test_several_names_free_what_each_does() -> None:
    entries = [entry(*path) for path in PATHS]
    found = anew(lock_of(ALL), Transcript(entries), ["pbr", "config"])
    assert {one.key for one in entries if found.asks(one)} == FREES["pbr"] | FREES["config"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("libc6", "moves as a whole"), ("requirements", "locked as made"), ("pbrr", "nothing in the lock")],
)
def test_what_cannot_move_alone_is_refused(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        anew(lock_of(ALL), Transcript(entry(*path) for path in PATHS), [name])
    if name == "libc6":
        assert "--update debian" in caught.value.remedy
    if name == "pbrr":
        assert "pbr" in caught.value.remedy


def test_an_answer_whose_bytes_the_pool_lost_holds_no_more(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool")
    held, lost, none = entry("u", "a", pool), entry("u", "b"), absent("u", "c")
    frozen = Frozen(Transcript([held, lost, none]), pool, Anew())
    assert [frozen.find("u", path) for path in "abcd"] == [held, None, none, None]


def test_an_index_that_is_asked_in_part_anew_is_seen(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool")
    frozen = Frozen(Transcript(entry(*path, pool) for path in PATHS), pool, Anew())
    assert frozen.find("debian", "dists/bookworm/InRelease")
    assert frozen.find("debian", "pool/new_1_all.deb") is None
    assert frozen.mixed == frozenset(), "a package that is new is no other state of the index"
    assert frozen.find("debian", "dists/bookworm/main/binary-arm64/Packages.xz") is None
    assert frozen.mixed == {"debian"}
    assert frozen.dated == {"debian"}
    again = frozen.without(frozen.mixed)
    assert again.find("debian", "dists/bookworm/InRelease") is None
    assert (again.mixed, again.dated) == (frozenset(), frozenset())


async def test_a_witness_asks_upstreams_only_what_does_not_hold(tmp_path: Path) -> None:
    """There is no upstream at all here: what is answered comes from the lock's transcript."""
    pool = Pool(tmp_path / "pool")
    frozen = Frozen(Transcript(entry(*path, pool) for path in PATHS), pool, Anew(upstreams=frozenset({"opendev"})))
    nobody = dict.fromkeys(("opendev", "galaxy"), "http://127.0.0.1:9")
    once = FetchTable(retries=0, timeout=1.0)
    async with Witness.record(pool, nobody, once, frozen=frozen) as witness:
        path = PATHS[9][1]
        assert await witness.get("galaxy", path) == f"galaxy/{path}".encode()
        with pytest.raises(Exception, match="opendev"):
            await witness.get("opendev", PATHS[7][1])
        said = witness.transcript().decode()
    assert path in said
    assert "InRelease" not in said, "what nobody asked this time is not in the new transcript"
    await asyncio.sleep(0)


def test_the_definition_may_stand_before_or_after_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/release.toml").touch()
    for words in (["there", "pbr", "nova"], ["pbr", "there", "nova"], ["pbr", "nova", "there"]):
        assert split_words(Path(words[0]), words[1:], update=True) == (Path("there"), ["pbr", "nova"])
    assert split_words(Path("pbr"), [], update=True) == (Path("release.toml"), ["pbr"])
    assert split_words(Path("there"), [], update=False) == (Path("there"), [])
    with pytest.raises(UsageError):
        split_words(Path("there"), ["pbr"], update=False)


def test_a_lock_does_not_differ_from_itself() -> None:
    lock = lock_of(ALL)
    assert difference(lock, lock).same
    assert difference_lines(difference(lock, lock)) == ["the same, byte for byte"]
    other = difference(lock, lock_of(ALL, witness="1" * 64))
    assert not other.same
    assert (other.changed, other.images_changed) == ((), ())
    assert "nothing but what it was solved against" in difference_lines(other)[0]


@given(st.data())
def test_every_project_that_differs_is_named_once_with_its_images(data: st.DataObject) -> None:
    fates = {one.name: data.draw(st.sampled_from(["stays", "goes", "comes", "moves"])) for one in ALL}
    before = [one for one in ALL if fates[one.name] != "comes"]
    after = [
        msgspec.structs.replace(one, version="9", sha256="9" * 64, size=99) if fates[one.name] == "moves" else one
        for one in ALL
        if fates[one.name] != "goes"
    ]
    found = difference(lock_of(before), lock_of(after))
    for fate, changes in (("goes", found.removed), ("comes", found.added), ("moves", found.changed)):
        assert {one.name for one in changes} == {name for name, its in fates.items() if its == fate}
        assert all(one.images == (() if one.kind == "git" else ("api (x86_64)",)) for one in changes)
        assert all(one.inherited == (0 if one.kind == "git" else 1) for one in changes)
    text = "\n".join(difference_lines(found))
    for name, fate in fates.items():
        assert (f" {name} " in text) == (fate != "stays")
    assert found.same == (set(fates.values()) == {"stays"})


def test_images_that_are_rendered_otherwise_are_told_from_those_answered_otherwise() -> None:
    old = lock_of([WHEEL])
    image = msgspec.structs.replace(old.images[0], dockerfile="1" * 64)
    new = msgspec.structs.replace(old, images=(image, old.images[1]))
    (change,) = difference(old, new).images_changed
    assert (change.name, change.what) == ("api", ("dockerfile",))
    assert "rendered    image api (x86_64): other dockerfile" in difference_lines(difference(old, new))
