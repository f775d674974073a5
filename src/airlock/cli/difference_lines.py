"""What changed between two locks, for whoever reviews it."""

from __future__ import annotations

from airlock.cli.words import counted
from airlock.core.sizes import size_words
from airlock.lock.difference import Difference, ProjectChange

SHOWN = 8
RENDERED = ("base", "parent", "dockerfile", "context", "sealed")


def difference_lines(found: Difference) -> list[str]:
    """Projects added, removed, changed; images; the sums."""
    if found.same:
        return ["the same, byte for byte"]
    lines = [f"{name:<11} {was} → {now}" for name, (was, now) in found.header.items() if name != "witness"]
    for word, changes in (("removed", found.removed), ("added", found.added), ("changed", found.changed)):
        lines += [line for change in changes for line in _change(word, change)]
    lines += [f"removed     image {name}" for name in found.images_removed]
    lines += [f"added       image {name}" for name in found.images_added]
    rendered = [one for one in found.images_changed if set(one.what) & {*RENDERED, "demands"}]
    lines += [f"rendered    image {one.name} ({one.arch}): other {', '.join(one.what)}" for one in rendered]
    projects = [found.removed, found.added, found.changed]
    if not any(projects) and not lines and not found.images_changed:
        lines.append("nothing but what it was solved against: other answers of upstreams, the same result")
    answered = len(found.images_changed)
    lines.append(
        f"{len(found.changed)} changed, {len(found.added)} added, {len(found.removed)} removed; "
        f"{counted(answered, 'image')} changed, {len(found.images_added)} added, {len(found.images_removed)} removed; "
        f"{size_words(found.size_before)} → {size_words(found.size_after)}"
    )
    return lines


def _change(word: str, change: ProjectChange) -> list[str]:
    versions = " → ".join(", ".join(which) or "–" for which in (change.before, change.after))
    if change.before == change.after:
        versions = f"{', '.join(change.after) or 'no version'}, other files"
    return [
        f"{word:<11} {change.kind} {change.name} {versions}  "
        f"({size_words(change.size_before)} → {size_words(change.size_after)}, {change.upstream})",
        f"            {_images(change)}",
    ]


def _images(change: ProjectChange) -> str:
    if not change.images:
        return "of no image: a tool or a repository"
    shown = ", ".join(change.images[:SHOWN])
    more = f" and {len(change.images) - SHOWN} more" if change.images[SHOWN:] else ""
    inherited = f"; and {counted(change.inherited, 'image')} built on these" if change.inherited else ""
    return f"in {shown}{more}{inherited}"
