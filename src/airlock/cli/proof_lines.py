"""``validate``'s report for a terminal: gaps first, then every image where it stands in the tree, then the sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from airlock.cli.words import counted
from airlock.core.sizes import size_words
from airlock.lock.proof import Gap
from airlock.lock.verdict import STATES, WORDS, ImageState, Verdict

SHOWN = 50


def gap_lines(gaps: Sequence[Gap], shown: int = SHOWN) -> list[str]:
    """The first gaps, each with what to do."""
    lines = [f"  {gap.where}: {gap.what}\n      → {gap.remedy}" for gap in gaps[:shown]]
    if len(gaps) > shown:
        lines.append(f"  … and {len(gaps) - shown} more (--json and --html have all)")
    return lines


def verdict_lines(verdict: Verdict) -> list[str]:
    """Images as a tree, sums by kind, what is shared, what was not proved."""
    lines = [line for arch in dict.fromkeys(one.facts.arch for one in verdict.images) for line in _tree(verdict, arch)]
    lines += [
        "",
        *(f"{kind:<8}{found.files:>6} files {size_words(found.size):>10}" for kind, found in verdict.kinds.items()),
    ]
    shared = verdict.shared
    lines.append(
        f"shared  {shared.files.files:>6} files {size_words(shared.files.size):>10}, asked for by several images; each "
        f"image carried alone, with its ancestors, would be {size_words(shared.apart)} together"
    )
    lines += ["", "not proved, for it cannot be read statically:", *(f"  {one}" for one in verdict.not_proved)]
    if verdict.unseen:
        lines.append(f"  Build hooks that do not run at the factory: {', '.join(verdict.unseen)}.")
    states = dict.fromkeys(image.state for image in verdict.images)
    lines += ["", *(f"{WORDS[one]}: {counted(verdict.count(one), 'image')}; {STATES[one]}" for one in states)]
    return lines


def _tree(verdict: Verdict, arch: str) -> list[str]:
    images = {one.facts.name: one for one in verdict.images if one.facts.arch == arch}
    roots = [one for one in images.values() if not one.facts.chain]
    seen: set[str] = set()
    drawn = [pair for root in roots for pair in _branch(root, images, "", "", seen)]
    for one in images.values():  # parents that go in circles have no root
        if one.facts.name not in seen:
            drawn += _branch(one, images, "", "", seen)
    width = max((len(name) for name, _ in drawn), default=0)
    head = f"{f'images ({arch})':<{width}}  {'own':>20}  {'with ancestors':>20}  state"
    return [head, *(f"{name:<{width}}  {_row(one)}" for name, one in drawn)]


def _branch(
    one: ImageState, images: dict[str, ImageState], first: str, rest: str, seen: set[str]
) -> Iterator[tuple[str, ImageState]]:
    seen.add(one.facts.name)
    yield f"{first}{one.facts.name}", one
    children = [images[name] for name in one.facts.children if name in images and name not in seen]
    for child in children:
        last = child is children[-1]
        yield from _branch(child, images, rest + ("└ " if last else "├ "), rest + ("  " if last else "│ "), seen)


def _row(one: ImageState) -> str:
    facts = one.facts
    state = f"{counted(one.gaps, 'GAP')}" if one.state == "gaps" else WORDS[one.state]
    against = f": {', '.join(one.stand_ins)}" if one.stand_ins else ""
    own, whole = (f"{found.files:>6} {size_words(found.size):>13}" for found in (facts.own, facts.whole))
    return f"{own}  {whole}  {state}{against}"
