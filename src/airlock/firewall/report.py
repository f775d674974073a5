"""One page of HTML about a factory's windows over time, for whoever answers for the firewall: no script, no link."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from airlock.evidence.window import WindowRecord

SHOWN = 500  # windows with a row of their own, the newest
_WIDTH = 1000
_HEADS = ("when (UTC)", "what for", "reachable", "contacted", "refused", "closed by")
_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24}
h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}th{white-space:nowrap}code{font-size:.85em}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid #d8dee4}
.bad{color:#b00020;font-weight:600}.none{color:#6b4e00}small{color:#57606a}details summary{cursor:pointer}
svg{width:100%;height:5rem;background:#f6f8fa;border:1px solid #d8dee4}
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
    broken = sum(1 for record in real for proof in record.proof if not proof.held)
    head = [
        f"<p>{len(real)} windows, open for {_duration(seconds)} altogether; {without} commands without a window. "
        f"Records: {escape(checked)}.</p>",
        f"<p>{_bad(f'{broken} proofs did not hold') if broken else 'Every proof held'}: what was not named was refused "
        "while a window was open, and everything was when it had closed.</p>",
        _timeline(records),
    ]
    rows = "\n".join(_row(record) for record in reversed(records[-SHOWN:]))
    more = f"<p>{len(records) - SHOWN} older ones are not shown.</p>" if len(records) > SHOWN else ""
    heads = "".join(f"<th>{text}</th>" for text in _HEADS)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Firewall windows</title><style>{_STYLE}</style></head><body>
<h1>When the factory's firewall was open</h1>
{"".join(head)}
<table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table>{more}
<p><small>Written {datetime.now(UTC).strftime("%Y-%m-%d %H:%M")} by airlock window report.</small></p>
</body></html>
"""


def _row(record: WindowRecord) -> str:
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
    limits = "".join(f"<li>{escape(text)}</li>" for text in record.cannot_prove)
    details = f"<details><summary>{len(record.proof)} proofs, limits</summary><ul>{limits}</ul></details>"
    until = "still open" if record.state == "open" else _duration(_seconds(record))
    who = f"asked by {escape(record.requester)}, run by {escape(record.user)} on {escape(record.machine)}"
    return (
        f"<tr><td>{escape(record.opened)}<br><small>{until}</small><br><code>{escape(record.id)}</code></td>"
        f"<td><b>{escape(record.verb)}</b>: {escape(record.reason)}<br><small>{who}</small><br>{what}</td>"
        f"<td>{reachable}</td><td>{contacted}</td>"
        f"<td>{refused}</td><td>{escape(record.closed_by)}<br>{'<br>'.join(notes)}{details}</td></tr>"
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
