"""The proof as one page of HTML for whoever signs the transfer: gaps first; nothing in it comes from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from airlock.core.sizes import size_words
from airlock.lock.model import Artifact, Demand, Lock
from airlock.lock.proof import Gap
from airlock.lock.report_style import SCRIPT, STYLE
from airlock.lock.stand_ins import Proven
from airlock.lock.survey import Key, Totals, own_demands
from airlock.lock.verdict import STATES, WORDS, ImageState, Verdict


def page(
    lock: Lock, gaps: Sequence[Gap], verdict: Verdict, proven: Proven, left_out: Mapping[str, Mapping[str, str]]
) -> str:
    """The page; what comes from the lock is escaped, however odd its names are."""
    header = lock.header
    title = f"{header.release}: {'nothing is missing' if not gaps else _counted(len(gaps), 'gap')}"
    images = _Tree(lock, verdict)
    parts = [
        _verdict(lock, gaps, verdict, proven),
        _gaps(gaps),
        _stand_ins(proven),
        _limits(verdict),
        _kinds(verdict.kinds),
        '<h2 id="images">Images</h2><p class=hint><input id=find type=search placeholder="Filter: a name, a state" '
        'aria-label="Filter images"> <small id=found aria-live=polite></small></p>',
        *(images.of(arch) for arch in dict.fromkeys(one.facts.arch for one in verdict.images)),
        _shared(verdict),
        _left_out(left_out),
    ]
    return (
        '<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<p><small>Written {datetime.now(UTC).strftime('%Y-%m-%d %H:%M')} UTC by airlock validate. Lock "
        f"<code>{lock.digest}</code>, definition <code>{escape(header.definition)}</code>.</small></p>"
        f"</main><script>{SCRIPT}</script></body></html>\n"
    )


def _verdict(lock: Lock, gaps: Sequence[Gap], verdict: Verdict, proven: Proven) -> str:
    header = lock.header
    says = "Nothing is missing" if not gaps else f"{_counted(len(gaps), 'gap')}: this must not leave"
    kolla = f"Kolla {header.kolla.get('version', '?')}"
    numbers = [
        (len(lock.images), "images"),
        (len(lock.demands), "demands"),
        (len(lock.artifacts), "artifacts"),
        (size_words(sum(artifact.size for artifact in lock.artifacts)), "to carry"),
    ]
    cells = "".join(f"<div><b>{value}</b><small>{what}</small></div>" for value, what in numbers)
    states = "".join(
        f'<li><span class="tag {state}">{WORDS[state]}</span> {verdict.count(state)}: {STATES[state]}</li>'
        for state in STATES
        if verdict.count(state)
    )
    if gaps:
        stands = f"Of the images, {proven.real} have real inputs alone and {proven.stand_ins} an input from a stand-in."
    else:
        stands = f"{proven}."
    return (
        f'<section class="verdict{" open" if gaps else ""}"><small>{escape(header.release)}, {escape(kolla)}</small>'
        f"<h1>{says}</h1><p>{stands}</p></section><div class=numbers>{cells}</div><ul>{states}</ul>"
    )


def _gaps(gaps: Sequence[Gap]) -> str:
    if not gaps:
        return ""
    rows = "".join(
        f"<tr class=gap><td>{escape(gap.where)}</td><td>{escape(gap.what)}</td><td>{escape(gap.remedy)}</td></tr>"
        for gap in gaps
    )
    return f"<h2>Gaps</h2><table><tr><th>where</th><th>what</th><th>what to do</th></tr>{rows}</table>"


def _stand_ins(proven: Proven) -> str:
    if not proven.stand_ins:
        return ""
    names = sorted({name for images in proven.against.values() for found in images.values() for name in found})
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(', '.join(_using(proven, name)))}</td></tr>" for name in names
    )
    return (
        "<h2>Stand-ins</h2><p>These upstreams imitate real ones that are out of reach. What stands on them is shown "
        "to be complete, not to be what the real ones have.</p>"
        f"<table><tr><th>stand-in</th><th>images</th></tr>{rows}</table>"
    )


def _using(proven: Proven, name: str) -> list[str]:
    return [f"{image} ({arch})" for arch, images in proven.against.items() for image in images if name in images[image]]


def _limits(verdict: Verdict) -> str:
    left = _list(verdict.proved) or "<p>Nothing as a whole: there are gaps. They are what was found.</p>"
    unseen = ""
    if verdict.unseen:
        unseen = (
            "<p><small>Build hooks that do not run at the factory; what these need is known from their static "
            f"metadata alone: {escape(', '.join(verdict.unseen))}.</small></p>"
        )
    return (
        f"<div class=two><section><h2>What was proved</h2>{left}</section>"
        f"<section><h2>What cannot be proved this way</h2>{_list(verdict.not_proved)}{unseen}</section></div>"
    )


def _kinds(kinds: Mapping[str, Totals]) -> str:
    largest = max((found.size for found in kinds.values()), default=1) or 1
    rows = "".join(
        f"<tr><td>{escape(kind)}</td><td class=n>{found.files:,}</td><td class=n>{size_words(found.size)}</td><td><div "
        f'class=track><span class=bar style="width:{100 * found.size / largest:.1f}%"></span></div></td></tr>'
        for kind, found in sorted(kinds.items(), key=lambda pair: -pair[1].size)
    )
    return (
        "<h2>What is carried</h2><table><tr><th>kind</th><th class=n>files</th><th class=n>size</th><th></th></tr>"
        f"{rows}</table>"
    )


class _Tree:
    """The images of a lock, each below its parent."""

    def __init__(self, lock: Lock, verdict: Verdict) -> None:
        self._images = {one.facts.key: one for one in verdict.images}
        self._demands, self._by_id = own_demands(lock), lock.by_id
        self._drawn: set[Key] = set()

    def of(self, arch: str) -> str:
        """One architecture."""
        own = [one for key, one in self._images.items() if key[0] == arch]
        roots = "".join(self._node(one) for one in own if not one.facts.chain)
        rest = "".join(self._node(one) for one in own if one.facts.key not in self._drawn)  # parents in a circle
        head = (
            f"<div class='row head'><span>{_counted(len(own), 'image')}, {escape(arch)}</span><span class=n>own</span>"
            "<span class=n>with ancestors</span><span>state</span></div>"
        )
        return f"{head}<ul class=tree>{roots}{rest}</ul>"

    def _node(self, one: ImageState) -> str:
        facts = one.facts
        self._drawn.add(facts.key)
        below = [self._images[facts.arch, name] for name in facts.children if (facts.arch, name) in self._images]
        children = "".join(self._node(child) for child in below if child.facts.key not in self._drawn)
        state = WORDS[one.state] if one.state != "gaps" else _counted(one.gaps, "gap")
        found = escape(f"{facts.name} {WORDS[one.state]} {' '.join(one.stand_ins)}".lower())
        own = size_words(facts.own.size) if facts.own.files else "–"
        cells = (
            f"<b>{escape(facts.name)}</b><span class=n>{own}</span><span class=n>"
            f'{size_words(facts.whole.size)}</span><span><span class="tag {one.state}">{state}</span></span>'
        )
        asks = self._asks(self._demands.get(facts.key, []))
        row = (
            f"<details><summary class=row>{cells}</summary>{asks}</details>"
            if asks
            else f"<div class='row plain'>{cells}</div>"
        )
        nested = f"<ul>{children}</ul>" if children else ""
        return f'<li data-find="{found}">{row}{nested}</li>'

    def _asks(self, demands: Sequence[Demand]) -> str:
        shown = "".join(self._demand(demand) for demand in demands)
        return f"<div class=asks>{shown}</div>" if shown else ""

    def _demand(self, demand: Demand) -> str:
        note = f" <small>({escape(demand.note)})</small>" if demand.note else ""
        line = f"line {demand.line} " if demand.line else ""
        rows = "".join(self._artifact(self._by_id.get(ident), ident) for ident in demand.artifacts)
        table = f"<table>{rows}</table>" if rows else ""
        return f"<p>{line}{demand.kind} <code>{escape(demand.spec)}</code>{note}</p>{table}"

    @staticmethod
    def _artifact(found: Artifact | None, ident: str) -> str:
        if found is None:
            return f"<tr><td class=n>missing</td><td>{escape(ident)}</td><td></td></tr>"
        mark = " <span class='tag stand-in'>stand-in</span>" if found.stand_in else ""
        return f"<tr><td class=n>{size_words(found.size)}</td><td>{escape(ident)}{mark}</td><td>{found.trust}</td></tr>"


def _shared(verdict: Verdict) -> str:
    shared = verdict.shared
    rows = "".join(
        f"<tr><td>{escape(one.id)}</td><td class=n>{one.images}</td><td class=n>{size_words(one.size)}</td>"
        f"<td class=n>{size_words(one.size * (one.images - 1))}</td></tr>"
        for one in shared.most
    )
    most = (
        ""
        if not rows
        else (
            "<table><tr><th>file</th><th class=n>images that ask</th><th class=n>size</th><th class=n>saved</th></tr>"
            f"{rows}</table>"
        )
    )
    return (
        f"<h2>What is shared</h2><p>{_counted(shared.files.files, 'file')} ({size_words(shared.files.size)}) that "
        f"several images ask for are carried once, which saves {size_words(shared.saved)}. Each image carried alone, "
        f"with its ancestors, would be {size_words(shared.apart)} together.</p>{most}"
    )


def _left_out(left_out: Mapping[str, Mapping[str, str]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(image)}</td><td>{escape(arch)}</td><td>{escape(reason)}</td></tr>"
        for arch, images in left_out.items()
        for image, reason in images.items()
    )
    if not rows:
        return ""
    return (
        "<h2>What is left out</h2><p>The definition selects these, and nothing of them is carried.</p>"
        f"<table><tr><th>image</th><th>architecture</th><th>why</th></tr>{rows}</table>"
    )


def _list(lines: Iterable[str]) -> str:
    found = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{found}</ul>" if found else ""


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
