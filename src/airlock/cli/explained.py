"""What ``validate --explain`` and ``--why`` found in a lock, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from airlock.cli.words import counted
from airlock.core.sizes import size_words
from airlock.lock.explain import Answered, Asker, Explanation, Why
from airlock.lock.model import Artifact
from airlock.lock.survey import Totals

TRUST = {
    "signed-index": "a signed Release leads to it",
    "declared": "Kolla declares its sha256",
    "first-seen": "its index named it when it was locked",
    "made": "made by the factory from locked inputs",
}


def totals(found: Totals) -> str:
    """``12 files, 3.4 MB``."""
    return f"{counted(found.files, 'file')}, {size_words(found.size)}"


def kinds_words(kinds: Mapping[str, Totals]) -> str:
    """``deb 3 (1.2 MB), wheel 4 (5.0 MB)``."""
    return ", ".join(f"{kind} {found.files} ({size_words(found.size)})" for kind, found in kinds.items())


def explanation_lines(found: Sequence[Explanation]) -> list[str]:
    """One image, an architecture after the other."""
    lines: list[str] = []
    for one in found:
        image = one.image
        lines += [
            *([""] if lines else []),
            f"image     {image.name} ({image.base}, {image.arch})",
            *(f"on        {ancestor.name}: {totals(ancestor.own)}" for ancestor in one.chain),
            f"brings    {totals(one.own)}{f': {kinds_words(one.kinds)}' if one.kinds else ''}",
            f"whole     {totals(one.whole)}, with its ancestors",
        ]
        if one.children:
            lines.append(f"under     {', '.join(one.children)}")
        proof = f"against stand-ins: {', '.join(one.stand_ins)}" if one.stand_ins else "on real inputs"
        lines.append(f"proof     {proof}")
        lines += [line for demand in one.demands for line in _demand(demand)]
        if not one.demands:
            lines.append("asks      for nothing itself")
    return lines


def _demand(demand: Answered) -> list[str]:
    amount = f"{counted(len(demand.artifacts), 'file')}, {size_words(demand.size)}" if demand.artifacts else "no file"
    note = f" ({demand.note})" if demand.note else ""
    where = f"line {demand.line}" if demand.line else "no line"
    return [
        "",
        f"{where}  {demand.kind}: {demand.spec}",
        f"  {amount}{note}",
        *(f"  {_artifact(artifact)}" for artifact in demand.artifacts),
        *(f"  MISSING {ident}: the lock has no such artifact" for ident in demand.lacking),
    ]


def _artifact(found: Artifact) -> str:
    mark = "  STAND-IN" if found.stand_in else ""
    return f"{size_words(found.size):>10}  {found.trust:<12}  {found.upstream:<16}  {found.id}{mark}"


def why_lines(found: Why) -> list[str]:
    """One artifact and who asks for it."""
    one = found.artifact
    lines = [
        f"artifact  {one.id}",
        f"is        {one.name} {one.version} ({one.arch}), {size_words(one.size)}",
        f"sha256    {one.sha256}",
        f"from      {one.upstream}: {one.path}{f' ({one.suite})' if one.suite else ''}",
        f"trust     {one.trust}: {TRUST[one.trust]}{'; from a STAND-IN of its upstream' if one.stand_in else ''}",
        f"asked     by {counted(len(found.asked), 'demand')}; in {counted(found.images, 'image')}",
    ]
    return [*lines, *(line for asker in found.asked for line in _asker(asker))]


def _asker(asker: Asker) -> list[str]:
    if asker.image:
        place = " ← ".join((f"{asker.image} ({asker.arch})", *asker.chain))
    else:
        place = {"tool": f"the site's own tools ({asker.arch})", "git": "the definition"}.get(asker.kind, asker.kind)
    line = f"line {asker.line}  " if asker.line else ""
    how = "names it" if asker.named else "needs it for what it names"
    if asker.kind == "python-build":
        how = f"needs it to be built; asked for by `{asker.through}`"
    elif asker.kind == "base-image":
        how = "is made of it"
    lines = ["", place, f"  {line}{asker.kind}: {asker.spec}", f"  {how}{f'; {asker.note}' if asker.note else ''}"]
    if asker.built_on:
        shown = ", ".join(asker.built_on[:8]) + (" …" if len(asker.built_on) > 8 else "")
        lines.append(f"  and {counted(len(asker.built_on), 'image')} built on it: {shown}")
    return lines


def candidates_lines(words: str, found: Sequence[Artifact]) -> list[str]:
    """Several files that the same words fit."""
    return [
        f"{words} is one of {counted(len(found), 'file')}; ask again by id:",
        *(
            f"  {artifact.id}  {artifact.version}, {artifact.arch}, sha256 {artifact.sha256[:12]}…"
            for artifact in found
        ),
    ]
