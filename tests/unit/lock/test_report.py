"""The report: gaps first, an image's state from its own gaps and its ancestors', a page that needs nothing else."""

import re
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airlock.cli.proof_lines import gap_lines, verdict_lines
from airlock.core.text import is_plain
from airlock.lock.model import Artifact, Demand, Image, Lock, make_lock
from airlock.lock.proof import Gap
from airlock.lock.report_page import page
from airlock.lock.stand_ins import proven
from airlock.lock.verdict import Verdict, judge

SHA = "0" * 64
PARENTS = {"base": "", "middle": "base", "api": "middle", "other": "base"}


def make(names: dict[str, str], odd: str = "", stand_in: str = "") -> Lock:
    artifacts = [
        Artifact(
            f"deb/{name}{odd}",
            "deb",
            name,
            "1",
            "all",
            f"{name}{odd}",
            SHA[:-2] + f"{number:02x}",
            1000 + number,
            "debian",
            name,
            "signed-index",
            stand_in=name == stand_in,
        )
        for number, name in enumerate(names)
    ]
    return make_lock(
        release=f"r{odd}",
        definition=SHA,
        kolla={"version": "18.8.0"},
        witness=SHA,
        requires={},
        images=[Image("debian", "x86_64", name, parent, SHA, SHA, SHA) for name, parent in names.items()],
        demands=[
            Demand("x86_64", name, 3, "apt", f"install {name}{odd}", (found.id,), odd)
            for name, found in zip(names, artifacts, strict=True)
        ],
        artifacts=artifacts,
    )


def states(verdict: Verdict) -> dict[str, str]:
    return {one.facts.name: one.state for one in verdict.images}


def judged(lock: Lock, *gaps: Gap) -> Verdict:
    return judge(lock, gaps, proven(lock))


def test_a_gap_keeps_an_image_and_what_is_built_on_it_from_being_proved():
    found = judged(make(PARENTS), Gap("image middle (x86_64), line 3", "is wrong", "mend it"))
    assert states(found) == {"base": "proved", "middle": "gaps", "api": "below", "other": "proved"}
    assert found.proved == ()


def test_a_missing_file_concerns_every_image_that_asks_for_it():
    lock = make(PARENTS)
    both = msgspec.structs.replace(lock.demands[0], artifacts=("deb/other",))
    lock = msgspec.structs.replace(lock, demands=(both, *lock.demands[1:]))
    asking = {demand.image for demand in lock.demands if "deb/other" in demand.artifacts}
    found = judged(lock, Gap("image api (x86_64), line 3", "is missing", "fetch it", "deb/other"))
    assert {name for name, state in states(found).items() if state == "gaps"} == asking
    assert len(asking) == 2


def test_a_gap_of_no_image_leaves_none_proved():
    found = judged(make(PARENTS), Gap("index files.json", "is missing", "refresh"))
    assert set(states(found).values()) == {"unproved"}


def test_a_stand_in_shows_in_all_that_is_built_on_it():
    found = judged(make(PARENTS, stand_in="middle"))
    assert states(found) == {"base": "proved", "middle": "stand-in", "api": "stand-in", "other": "proved"}


def test_the_terminal_has_every_image_below_its_parent_and_what_was_not_proved():
    lines = verdict_lines(judged(make(PARENTS)))
    assert [line.split("  ")[0] for line in lines[1:5]] == ["base", "├ middle", "│ └ api", "└ other"]
    assert any("Maintainer scripts" in line for line in lines)
    shown = gap_lines([Gap(f"image i{n} (x86_64)", "w", "r") for n in range(60)])
    assert shown[-1] == "  … and 10 more (--json and --html have all)"


@pytest.mark.parametrize("parents", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "gone"}])
def test_parents_that_lead_nowhere_are_shown_all_the_same(parents):
    lock = make(parents)
    text = "\n".join(verdict_lines(judged(lock)))
    html = page(lock, [], judged(lock), proven(lock), {})
    for name in parents:
        assert re.search(rf"\b{name} ", text)
        assert f"<b>{name}</b>" in html


class Checker(HTMLParser):
    """Sees that tags nest, and keeps what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in {"meta", "input", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(deadline=None)  # a page has some milliseconds, but a machine may have other work
@given(st.text(st.characters(codec="utf-8"), max_size=20).filter(is_plain))
def test_the_page_says_what_the_lock_says_however_odd_and_comes_from_nowhere_else(odd: str) -> None:
    lock = make(PARENTS, odd)
    gap = Gap("image api (x86_64), line 3", f"lacks {odd}", "mend it")
    html = page(lock, [gap], judged(lock, gap), proven(lock), {"x86_64": {"gone": odd}})
    seen = Checker()
    seen.feed(html)
    seen.close()
    assert seen.open == []
    assert f"lacks {odd}" in seen.text
    assert not {name for name, _ in seen.attributes} & {"src", "href", "onclick", "onload"}
    assert seen.text.index("Gaps") < seen.text.index("What is carried")


def test_the_page_loads_nothing_and_is_light_for_all_images_of_kolla():
    lock = make({"base": ""} | {f"image-{number}": "base" for number in range(205)})
    ids = tuple(artifact.id for artifact in lock.artifacts)
    lock = msgspec.structs.replace(
        lock, demands=tuple(msgspec.structs.replace(one, artifacts=ids[:40]) for one in lock.demands)
    )
    html = page(lock, [], judged(lock), proven(lock), {})
    assert len(html.encode()) < 2_000_000
    assert not re.search(r"https?://|@import|url\(", html)
    assert "206 images proven on real inputs, 0 against stand-ins" in html
