"""One page of HTML about a factory's windows over time, for whoever answers for the firewall: no script, no link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from airlock.evidence.window import WindowRecord

SHOWN = 500  # windows with a row of their own, the newest
_WIDTH = 1000
_HEADS = ("when (UTC)", "what for", "reachable", "contacted", "refused", "closed by")
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#1b1f24}
h1{font-size:1.4rem}h2{font-size:1.1rem}table{border-collapse:collapse;width:100%;table-layout:fixed}
code{font-size:.85em}th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #d8dee4;
overflow-wrap:anywhere}col.short{width:13%}
.bad{color:#b00020;font-weight:600}.none{color:#6b4e00}small{color:#57606a}
svg{width:100%;height:5rem;background:#f6f8fa;border:1px solid #d8dee4}
@page{size:A4 landscape;margin:12mm}
@media print{body{font-size:10px;margin:0;max-width:none;padding:0}svg{height:3rem}tr{break-inside:avoid}
thead{display:table-header-group}*{print-color-adjust:exact}}
"""


def page(records: Sequence[WindowRecord], checked: str) -> str:
    """The page.

    Args:
        records: the oldest first.
        checked: whether they are what the ledger says, in words.
    """
    real = [record for record in records if record.state != "none"]
    without = len(records) - len(real)
    seconds = sum(_seconds(record) for record in real)
    proofs = [proof for record in real for proof in record.proof]
    broken = sum(1 for proof in proofs if not proof.held)
    limits = {text: number for number, text in enumerate(dict.fromkeys(_limits(records)), 1)}
    head = [
        f"<p>{_count(len(real), 'window')}, open for {_duration(seconds)} altogether; "
        f"{_count(without, 'command')} without a window. Records: {escape(checked)}.</p>",
        f"<p>{_verdict(len(proofs), broken)}</p>",
        _timeline(records),
    ]
    rows = "\n".join(_row(record, limits) for record in reversed(records[-SHOWN:]))
    more = f"<p>{_count(len(records) - SHOWN, 'older one')} not shown.</p>" if len(records) > SHOWN else ""
    heads = "".join(f"<th>{text}</th>" for text in _HEADS)
    listed = "".join(f"<li>{escape(text)}</li>" for text in limits)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Firewall windows</title><style>{_STYLE}</style></head><body>
<h1>When the factory's firewall was open</h1>
{"".join(head)}
<table><colgroup><col class=short><col><col><col><col><col></colgroup><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table>{more}
{f"<h2>What the records cannot prove</h2><ol>{listed}</ol>" if listed else ""}
<p><small>Written {datetime.now(UTC).strftime("%Y-%m-%d %H:%M")} by airlock window report.</small></p>
</body></html>
"""


def _limits(records: Sequence[WindowRecord]) -> Iterator[str]:
    for record in reversed(records[-SHOWN:]):
        yield from record.cannot_prove


def _verdict(proofs: int, broken: int) -> str:
    """What was tried to prove that the windows are what they say."""
    what = "that what was not named is refused while a window is open, and everything when it has closed"
    if broken:
        words = f"{broken} of {_count(proofs, 'proof')} did not hold"
        return f"{_bad(words)}: {what}."
    return f"Every proof held ({proofs}): {what}." if proofs else "Nothing was tried."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _row(record: WindowRecord, limits: Mapping[str, int]) -> str:
    reachable = "<br>".join(f"{escape(host.name)}:{host.port}" for host in record.hosts) or "nothing"
    contacted = "<br>".join(
        f"{escape(' or '.join(contact.hosts) or contact.address)}:{contact.port} "
        f"<small>{escape(contact.address)} {contact.connections}×, {_bytes(contact.sent)} out, "
        f"{_bytes(contact.received)} in</small>"
        for contact in record.contacts
    )
    refused = "<br>".join(
        [
            *(f"{escape(one.to)} {escape(one.protocol)} {one.port or ''} ×{one.count}" for one in record.refused[:20]),
            *(f"name {escape(name)}" for name in record.refused_names[:20]),
        ]
    )
    if record.state == "none":
        what = f"<span class=none>no window: {escape(record.why)}</span>"
    else:
        what = f"{escape(record.backend)} <small>for {escape(', '.join(record.confined) or 'the firewall')}</small>"
    broken = [proof for proof in record.proof if not proof.held]
    notes = [*(_bad(f"{one.attempt}: {one.outcome}") for one in broken), *(escape(note) for note in record.notes)]
    numbers = ", ".join(str(limits[text]) for text in record.cannot_prove)
    told = [f"<small>{_count(len(record.proof), 'proof')}{f'; limits {numbers}' if numbers else ''}</small>"]
    until = "still open" if record.state == "open" else _duration(_seconds(record))
    opened = escape(record.opened.replace("T", " ").rstrip("Z"))
    who = f"asked by {escape(record.requester)}, run by {escape(record.user)} on {escape(record.machine)}"
    return (
        f"<tr><td>{opened}<br><small>{until}</small><br><code>{escape(record.id)}</code></td>"
        f"<td><b>{escape(record.verb)}</b>: {escape(record.reason)}<br><small>{who}</small><br>{what}</td>"
        f"<td>{reachable}</td><td>{contacted}</td>"
        f"<td>{refused}</td><td>{'<br>'.join([escape(record.closed_by), *notes, *told])}</td></tr>"
    )


def _timeline(records: Sequence[WindowRecord]) -> str:
    """A bar a window, from the first to the last of them."""
    if not records:
        return ""
    first = _time(records[0].opened)
    last = max(_time(record.closed or record.until or record.opened) for record in records)
    span = max((last - first).total_seconds(), 1.0)
    bars = []
    for record in records:
        left = (_time(record.opened) - first).total_seconds() / span * _WIDTH
        width = max(_seconds(record) / span * _WIDTH, 2.0)
        colour = "#bf8700" if record.state == "none" else "#1a7f37"
        title = escape(f"{record.opened}: {record.verb}, {record.reason}")
        bars.append(
            f'<rect x="{left:.1f}" y="20" width="{width:.1f}" height="40" fill="{colour}"><title>{title}</title></rect>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} 80" preserveAspectRatio="none" role="img" aria-label="windows over time">'
        f"{''.join(bars)}</svg><p><small>{escape(records[0].opened)} … {last.strftime('%Y-%m-%dT%H:%M:%SZ')}; green: a "
        "window; brown: no window</small></p>"
    )


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)


def _seconds(record: WindowRecord) -> float:
    end = record.closed or record.until
    return max((_time(end) - _time(record.opened)).total_seconds(), 0.0) if end else 0.0


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1_000_000 else f"{count / 1e3:,.1f} kB"


def _bad(text: str) -> str:
    return f"<span class=bad>{escape(text)}</span>"
