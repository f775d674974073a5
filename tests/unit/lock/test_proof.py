"""The proof names whatever is taken away: any demand's line, any artifact, any image, any index entry."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.core.errors import FormatError
from airlock.core.progress import SilentReporter
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock, read_lock
from airlock.lock.proof import Expected, prove_indexes, prove_lock, prove_presence, wanted_by

SHA = "0" * 63


def artifact(number: int, kind: str = "deb") -> Artifact:
    file = f"p{number}_1_amd64.deb" if kind == "deb" else f"p{number}-1.tar.gz"
    return Artifact(
        id=f"{kind}/{file}", kind=kind, name=f"p{number}", version="1", arch="amd64", file=file,  # type: ignore[arg-type]
        sha256=f"{SHA}{number % 10}", size=number, upstream="debian", path=f"pool/{file}", trust="signed-index",
    )  # fmt: skip


@st.composite
def locks(draw: st.DrawFn) -> tuple[Lock, Expected]:
    """A small lock and the reading it answers: debs, an sdist with its isolation, a tool, a git repository."""
    count = draw(st.integers(1, 4))
    images, demands, artifacts = [], [], []
    for number in range(count):
        name = f"image{number}"
        images.append(
            Image("debian", "x86_64", name, f"image{number - 1}" if number else "", SHA + "a", SHA + "b", SHA + "c")
        )
        debs = [artifact(number * 10 + extra) for extra in range(draw(st.integers(1, 3)))]
        sdist = artifact(number * 10 + 5, "sdist")
        artifacts += [*debs, sdist]
        demands.append(
            Demand(
                "x86_64", name, 3, "apt", f"install {' '.join(d.name for d in debs)}", tuple(sorted(d.id for d in debs))
            )
        )
        demands.append(Demand("x86_64", name, 9, "python", sdist.name, (sdist.id,)))
        demands.append(Demand("x86_64", name, 9, "python-build", sdist.file))
    tool = artifact(99)
    demands.append(Demand("x86_64", "", 0, "tool", "kolla", (tool.id,)))
    repository = artifact(98, "git")
    demands.append(Demand("any", "", 0, "git", "config @ main", (repository.id,)))
    lock = make_lock(
        release="r", definition=SHA + "d", kolla={}, witness=SHA + "e", requires={}, images=images, demands=demands,
        artifacts=[*artifacts, tool, repository],
    )  # fmt: skip
    asked = tuple(
        msgspec.structs.replace(d, artifacts=()) for d in lock.demands if d.kind not in ("python-build", "tool")
    )
    return lock, Expected(SHA + "d", lock.images, asked, ("kolla",))


@given(locks())
def test_a_whole_lock_has_no_gap_and_survives_its_own_format(pair: tuple[Lock, Expected]) -> None:
    lock, expected = pair
    assert prove_lock(lock, expected) == []
    assert read_lock(lock.to_bytes()) == lock


@given(locks(), st.data())
def test_any_line_taken_out_of_a_lock_is_named(pair: tuple[Lock, Expected], data: st.DataObject) -> None:
    lock, expected = pair
    lines = lock.to_bytes().splitlines(keepends=True)
    victim = data.draw(st.integers(1, len(lines) - 1))
    damaged = read_lock(b"".join(line for number, line in enumerate(lines) if number != victim))
    line = (lock.images + lock.demands + lock.artifacts)[victim - 1]
    text = "\n".join(map(str, prove_lock(damaged, expected)))
    if isinstance(line, Demand):
        name = line.image or ("git config @ main" if line.kind == "git" else "tool")
    else:
        name = line.name if isinstance(line, Image) else line.id
    assert name in text


@given(locks(), st.data())
def test_any_missing_artifact_is_named_with_the_image_that_wants_it(
    pair: tuple[Lock, Expected], data: st.DataObject
) -> None:
    lock, _ = pair
    victim = data.draw(st.sampled_from(lock.artifacts))
    gaps = prove_presence(
        lock.artifacts, lambda found: "missing" if found == victim else "", wanted_by(lock), SilentReporter()
    )
    assert [gap.what for gap in gaps] == [f"{victim.id} is missing"]
    assert gaps[0].where == next(d.where for d in lock.demands if victim.id in d.artifacts)


@given(locks(), st.data())
def test_a_package_added_to_a_command_is_named(pair: tuple[Lock, Expected], data: st.DataObject) -> None:
    lock, expected = pair
    victim = data.draw(st.sampled_from([d for d in expected.demands if d.kind == "apt"]))
    changed = msgspec.structs.replace(victim, spec=victim.spec + " vim")
    asked = tuple(changed if d == victim else d for d in expected.demands)
    text = "\n".join(map(str, prove_lock(lock, msgspec.structs.replace(expected, demands=asked))))
    assert victim.where in text
    assert "(new: vim)" in text


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, unique=True), st.data())
def test_any_stanza_taken_out_of_an_index_is_named(names: list[str], data: st.DataObject) -> None:
    stanzas = {name: f"Package: {name}\nVersion: 1\n\n".encode() for name in names}
    wanted = {"apt/debian/dists/bookworm/main/binary-amd64/Packages": b"".join(stanzas.values())}
    victim = data.draw(st.sampled_from(names))
    held = {key: value.replace(stanzas[victim], b"") for key, value in wanted.items()}
    (gap,) = prove_indexes(held, wanted)
    assert f"Package: {victim}" in gap.what
    assert prove_indexes(wanted, wanted) == []


def small() -> Lock:
    one = artifact(1)
    return make_lock(
        release="r", definition=SHA + "d", kolla={}, witness=SHA + "e", requires={},
        images=[Image("debian", "x86_64", "base", "", SHA + "a", SHA + "b", SHA + "c")],
        demands=[Demand("x86_64", "base", 3, "apt", "install p1", (one.id,))], artifacts=[one],
    )  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_line_that_says_again_what_another_one_says_is_no_lock(number: int) -> None:
    """Else one of the two would be proved, and the other one built from."""
    lines = small().to_bytes().splitlines(keepends=True)
    other = lines[number].replace(b'"parent":""', b'"parent":"x"').replace(b'"size":1', b'"size":2')
    with pytest.raises(FormatError, match=rf"the lock, line 5: the same \w+ as line {number + 1}"):
        read_lock(b"".join([*lines, other]))


@pytest.mark.parametrize("text", ["base\x1b[2J", "base\nnothing is missing", "b\u202ease", "ba\u200bse"])
def test_names_that_would_say_something_else_on_a_terminal_are_refused(text: str) -> None:
    lock = small()
    images = (msgspec.structs.replace(lock.images[0], name=text),)
    with pytest.raises(FormatError, match=r"line 2: 'b.* not to be seen") as said:
        read_lock(msgspec.structs.replace(lock, images=images).to_bytes())
    assert said.value.message.isprintable()
    demand = msgspec.structs.replace(lock.demands[0], spec=text)
    header = lock.header
    with pytest.raises(FormatError, match="not to be seen"):
        make_lock(
            release="r", definition=header.definition, kolla={}, witness=header.witness, requires={},
            images=lock.images, demands=[demand], artifacts=lock.artifacts,
        )  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"image","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"artifact"}',
        b"\xff\xfe",
        b'{"type":"demand","arch":"x","image":"x","line":' + b"9" * 400 + b',"kind":"apt","spec":"x"}',
        b'{"type":"demand","arch":"x","image":"x","line":-1,"kind":"apt","spec":"x"}',
        b'{"type":"demand","arch":"\\ud800"}',
        b'{"type":"image"' + b"\x00" * 9 + b"}",
    ],
)
def test_a_line_that_is_none_is_named_and_no_traceback(line: bytes) -> None:
    with pytest.raises(FormatError, match="the lock, line 5: "):
        read_lock(small().to_bytes() + line + b"\n")


@pytest.mark.parametrize("kind", ["base-image", "file", "galaxy", "gem", "git", "git-clone", "grafana-plugin", "key",
                                  "source", "tool"])  # fmt: skip
def test_a_note_is_no_answer_where_something_is_fetched(kind: str) -> None:
    lock = small()
    demand = Demand("x86_64", "base", 4, kind, "thing", (), "it is there already")  # type: ignore[arg-type]
    asked = (*(msgspec.structs.replace(one, artifacts=()) for one in (*lock.demands, demand)),)
    expected = Expected(lock.header.definition, lock.images, tuple(one for one in asked if one.kind != "tool"), ())
    header = msgspec.structs.replace(lock.header, demands=2)
    gaps = prove_lock(Lock(header, lock.images, (*lock.demands, demand), lock.artifacts), expected)
    assert [gap.what for gap in gaps] == [f"{kind} demand `thing` has no answer"]


@pytest.mark.parametrize(("locked", "asked", "gaps"), [("left out", "left out", 0), ("left out", "", 1), ("", "", 1)])
def test_a_vendors_repository_has_no_answer_only_where_the_definition_leaves_it_out(
    locked: str, asked: str, gaps: int
) -> None:
    demand = Demand("x86_64", "base", 0, "vendor-repository", "rabbitmq", note=locked)
    lock = make_lock(
        release="demo", definition="0" * 64, kolla={}, witness="0" * 64, requires={}, images=[], demands=[demand],
        artifacts=[],
    )  # fmt: skip
    expected = Expected(lock.header.definition, (), (msgspec.structs.replace(demand, note=asked),), ())
    found = prove_lock(lock, expected)
    assert len(found) == gaps
    assert all("rabbitmq" in gap.what for gap in found)
