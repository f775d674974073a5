"""What stands rehearsed: a line an image, which a kill leaves whole; and what decides that an image is built again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.build.rehearsal_journal import Journal, Rehearsed, image_key
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock

ENTRY = Rehearsed(image="base", state="built", key="k", date="2026-11-24T00:00:00Z", id="1", seconds=2.5)


def test_the_newest_of_an_image_is_what_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "place" / "journal.jsonl")
    assert journal.entries == {}
    journal.put(msgspec.structs.replace(ENTRY, state="failed", said="no", asked=("this",)))
    journal.put(msgspec.structs.replace(ENTRY, image="cron"))
    journal.put(ENTRY)
    again = Journal(tmp_path / "place" / "journal.jsonl").entries
    assert again == {"base": ENTRY, "cron": msgspec.structs.replace(ENTRY, image="cron")}


@given(st.data())
def test_a_line_that_cannot_be_read_is_an_image_that_is_not_built(tmp_path_factory, data) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    for name in ("base", "cron", "nova"):
        journal.put(msgspec.structs.replace(ENTRY, image=name))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = data.draw(st.one_of(st.binary(max_size=40), st.integers(0, 60).map(lambda end: lines[1][:end]))) + b"\n"
    path.write_bytes(b"".join(lines))
    assert {"base", "nova"} <= set(Journal(path).entries) <= {"base", "cron", "nova"}


def lock(sealed: str = "1", deb: str = "a", other: str = "b") -> Lock:
    def artifact(name: str, digit: str) -> Artifact:
        return Artifact(
            f"deb/{name}", "deb", name, "1", "any", f"{name}.deb", digit * 64, 1, "debian", name, "signed-index"
        )

    return make_lock(
        release="r",
        definition="0" * 64,
        kolla={},
        witness="0" * 64,
        requires={},
        images=[
            Image("debian", "x86_64", "base", "", "0" * 64, "0" * 64, sealed * 64),
            Image("debian", "x86_64", "cron", "base", "0" * 64, "0" * 64, "3" * 64),
        ],
        demands=[
            Demand("x86_64", "base", 3, "apt", "install vim", ("deb/vim",)),
            Demand("x86_64", "cron", 3, "apt", "install cron", ("deb/cron",)),
        ],
        artifacts=[artifact("vim", deb), artifact("cron", other)],
    )


def key(of: Lock, parent: str = "p", timestamp: int = 7) -> str:
    return image_key(of, "x86_64", "base", parent, timestamp)


@pytest.mark.parametrize(
    "changed",
    [key(lock(sealed="2")), key(lock(deb="c")), key(lock(), parent="q"), key(lock(), timestamp=8)],
    ids=["folder", "package", "parent", "time"],
)
def test_whatever_an_image_is_built_of_makes_it_another(changed: str) -> None:
    assert changed != key(lock())


def test_what_another_image_is_built_of_does_not() -> None:
    assert key(lock(other="d")) == key(lock())
