"""Seeded faults in a lock as large as Kolla's: whatever one thing is taken away or altered, the proof names it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from airlock.core.progress import SilentReporter
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock, read_lock
from airlock.lock.proof import Expected, Gap, prove_indexes, prove_lock, prove_presence, wanted_by

IMAGES, FAULTS = 205, 30
SHA = "{:064x}".format


def artifact(kind: str, number: int) -> Artifact:
    name = f"p{number}"
    ends = {"deb": "_1_amd64.deb", "wheel": "-1-py3-none-any.whl", "sdist": "-1.tar.gz", "source": "-1.tgz", "file": ""}
    file = f"{name}{ends[kind]}"
    return Artifact(
        f"{kind}/{file}",
        kind,
        name,
        "1",
        "any",
        file,
        SHA(number),
        1000 + number,
        "u",
        f"pool/{file}",
        "signed-index",  # type: ignore[arg-type]
    )


def synthetic(seed: int) -> tuple[Lock, Expected]:
    """As many images as Kolla has, below each other as there, with every kind of demand, and files that many share."""
    draw = random.Random(seed)
    images, demands, artifacts = [], [], []
    shared = [artifact("deb", number) for number in range(40)]
    number = 1000
    for index in range(IMAGES):
        name = f"image-{index}"
        parent = f"image-{draw.randrange(max(1, min(index, 40)))}" if index else ""
        images.append(Image("debian", "x86_64", name, parent, SHA(index + 1), SHA(index + 2), SHA(index + 3)))
        for line, kind, count in ((3, "deb", draw.randint(1, 8)), (9, "wheel", draw.randint(0, 4))):
            found = [artifact(kind, number + extra) for extra in range(count)]
            number += count
            found += draw.sample(shared, 2) if kind == "deb" else []
            artifacts += found
            ids = tuple(sorted(one.id for one in found))
            asked, note = "apt" if kind == "deb" else "python", "" if ids else "has them"
            demands.append(Demand("x86_64", name, line, asked, f"install {name} {line}", ids, note))  # type: ignore[arg-type]
        if not parent:
            demands.append(Demand("x86_64", name, 1, "base-image", "mmdebstrap", (shared[0].id,)))
        if draw.random() < 0.5:
            sdist, built_by, source = (
                artifact("sdist", number),
                artifact("wheel", number + 1),
                artifact("source", number + 2),
            )
            number += 3
            artifacts += [sdist, built_by, source]
            demands += [
                Demand("x86_64", name, 12, "python", f"install {sdist.name}", (sdist.id,)),
                Demand("x86_64", name, 12, "python-build", sdist.file, (built_by.id,)),
                Demand("x86_64", name, 5, "source", f"section-{index}", (source.id,)),
            ]
        if draw.random() < 0.1:
            file = artifact("file", number)
            number += 1
            artifacts.append(file)
            demands.append(Demand("x86_64", name, 7, "file", f"https://mirror.example.org/{file.file}", (file.id,)))
    tool = artifact("wheel", number)
    demands.append(Demand("x86_64", "", 0, "tool", "kolla", (tool.id,)))
    used = {ident for demand in demands for ident in demand.artifacts}
    lock = make_lock(
        release="all",
        definition=SHA(1),
        kolla={},
        witness=SHA(2),
        requires={},
        images=images,
        demands=demands,
        artifacts=[one for one in {one.id: one for one in [*artifacts, *shared, tool]}.values() if one.id in used],
    )
    asked = tuple(
        msgspec.structs.replace(one, artifacts=()) for one in lock.demands if one.kind not in ("python-build", "tool")
    )
    return lock, Expected(SHA(1), lock.images, asked, ("kolla",))


LOCK, EXPECTED = synthetic(7)
ANSWERS = Counter(ident for demand in LOCK.demands for ident in demand.artifacts)
ALONE = [ident for ident, count in ANSWERS.items() if count == 1]


def gaps_of(lines: list[bytes]) -> list[Gap]:
    return prove_lock(read_lock(b"".join(lines)), EXPECTED)


def lines_of(lock: Lock) -> list[bytes]:
    return lock.to_bytes().splitlines(keepends=True)


def told(gaps: list[Gap]) -> str:
    return "\n".join(map(str, gaps))


def name_of(line: Image | Demand | Artifact) -> str:
    """What a person has to read to find it."""
    if isinstance(line, Image):
        return f"image {line.name} ("
    if isinstance(line, Artifact):
        return line.id
    return line.spec if line.kind == "python-build" else line.where


def test_the_whole_lock_has_no_gap():
    assert len(LOCK.images) == IMAGES
    assert len(LOCK.artifacts) > 1000
    assert prove_lock(LOCK, EXPECTED) == []


@pytest.mark.parametrize("seed", range(FAULTS))
def test_any_line_that_is_gone_is_named(seed: int) -> None:
    lines = lines_of(LOCK)
    victim = random.Random(seed).randrange(1, len(lines))
    line = (*LOCK.images, *LOCK.demands, *LOCK.artifacts)[victim - 1]
    assert name_of(line) in told(gaps_of([one for number, one in enumerate(lines) if number != victim]))


def altered(draw: random.Random) -> tuple[Lock, str]:
    """The lock with one field of one line changed, and what must be named."""
    kind = draw.choice(["image", "demand", "answer", "foreign", "header"])
    images, demands = list(LOCK.images), list(LOCK.demands)
    header = LOCK.header
    if kind == "image":
        at = draw.randrange(len(images))
        field = draw.choice(["parent", "dockerfile", "context", "sealed", "base"])
        other = "elsewhere" if field in ("parent", "base") else SHA(99_999_999)
        images[at] = msgspec.structs.replace(images[at], **{field: other})
        named = f"image {images[at].name} (x86_64): its {field} "
    elif kind == "demand":
        at = draw.choice([n for n, one in enumerate(demands) if one.kind not in ("tool", "python-build")])
        changed = draw.choice([{"line": 77}, {"spec": "install --other thing"}, {"kind": "source", "spec": "nothing"}])
        named = demands[at].where
        demands[at] = msgspec.structs.replace(demands[at], **changed)  # type: ignore[arg-type]
    elif kind == "answer":
        named = draw.choice(ALONE)
        at = next(n for n, one in enumerate(demands) if named in one.artifacts)
        kept = tuple(ident for ident in demands[at].artifacts if ident != named)
        demands[at] = msgspec.structs.replace(demands[at], artifacts=kept)
    elif kind == "foreign":
        at = draw.randrange(len(demands))
        named = "deb/never-locked_1_all.deb"
        demands[at] = msgspec.structs.replace(demands[at], artifacts=(*demands[at].artifacts, named))
    else:
        field = draw.choice(["images", "demands", "artifacts", "size"])
        header = msgspec.structs.replace(header, **{field: getattr(header, field) + draw.choice([-1, 1])})
        named = "lock: its header says"
    return Lock(header, tuple(images), tuple(demands), LOCK.artifacts), named


@pytest.mark.parametrize("seed", range(3 * FAULTS))
def test_any_line_that_is_altered_is_named(seed: int) -> None:
    lock, named = altered(random.Random(seed))
    assert named in told(gaps_of(lines_of(lock)))


@pytest.mark.parametrize("seed", range(FAULTS))
def test_a_size_that_is_altered_does_not_go_unseen(seed: int) -> None:
    """The header's sum differs; and if that is altered as well, the file in the pool has another size."""
    victim = random.Random(seed).choice(LOCK.artifacts)
    other = msgspec.structs.replace(victim, size=victim.size + 1)
    artifacts = tuple(other if one is victim else one for one in LOCK.artifacts)
    assert "bytes, its artifacts have" in told(gaps_of(lines_of(msgspec.structs.replace(LOCK, artifacts=artifacts))))
    held = {one.sha256: one.size for one in LOCK.artifacts}
    gaps = prove_presence(artifacts, pool(held), wanted_by(LOCK), SilentReporter())
    assert [gap.artifact for gap in gaps] == [victim.id]


def pool(held: dict[str, int]) -> Callable[[Artifact], str]:
    """``Pool.check`` of what is held: sha256 → size."""

    def check(found: Artifact) -> str:
        if found.sha256 not in held:
            return "missing"
        return "" if held[found.sha256] == found.size else f"{held[found.sha256]} bytes, not {found.size}"

    return check


@pytest.mark.parametrize("seed", range(FAULTS))
def test_any_file_that_is_gone_or_whose_sha256_is_altered_is_named_with_its_image(seed: int) -> None:
    draw = random.Random(seed)
    victim = draw.choice(LOCK.artifacts)
    held = {one.sha256: one.size for one in LOCK.artifacts}
    artifacts = list(LOCK.artifacts)
    if draw.random() < 0.5:
        del held[victim.sha256]
    else:
        artifacts[artifacts.index(victim)] = msgspec.structs.replace(victim, sha256=SHA(88_888_888))
    (gap,) = prove_presence(artifacts, pool(held), wanted_by(LOCK), SilentReporter())
    assert (gap.artifact, gap.where) == (victim.id, wanted_by(LOCK)[victim.id])


def index() -> dict[str, bytes]:
    debs = [one for one in LOCK.artifacts if one.kind == "deb"]
    stanzas = [
        f"Package: {one.name}\nVersion: 1\nFilename: pool/{one.sha256}\nSHA256: {one.sha256}\n".encode() for one in debs
    ]
    wheels = [f"{one.file} {one.sha256}".encode() for one in LOCK.artifacts if one.kind == "wheel"]
    return {
        "apt/debian/dists/bookworm/main/binary-amd64/Packages": b"\n".join(stanzas),
        "pypi/simple/index.html": b"\n".join(wheels),
        "apt/debian/dists/bookworm/Release": b"Suite: bookworm\n",
    }


INDEX = index()


@pytest.mark.parametrize("seed", range(2 * FAULTS))
def test_any_entry_of_an_index_that_is_gone_or_altered_is_named(seed: int) -> None:
    draw = random.Random(seed)
    held = dict(INDEX)
    name = draw.choice(list(held))
    separator = b"\n\n" if name.endswith("/Packages") else b"\n"
    entries = held[name].split(separator)
    at = draw.randrange(len(entries))
    title = entries[at].splitlines()[0].decode() if entries[at] else ""
    how = draw.choice(["gone", "altered", "whole"])
    if how == "whole":
        del held[name]
    elif how == "gone":
        held[name] = separator.join(entries[:at] + entries[at + 1 :])
    else:
        entry = entries[at]
        place = draw.randrange(len(entry)) if entry else 0
        entries[at] = entry[:place] + bytes([entry[place] ^ 1]) + entry[place + 1 :] if entry else b"x"
        held[name] = separator.join(entries)
    (gap,) = prove_indexes(held, INDEX)
    assert gap.where == f"index {name}"
    assert how == "whole" or title[:120] in gap.what
