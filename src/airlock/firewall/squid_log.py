"""squid's access log, read into contacts and refusals. What stands in it comes from clients: everything has a bound."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from airlock.evidence.window import Contact, RefusedAttempt
from airlock.firewall.hosts import UNNAMED

FORMAT = "%ts.%03tu %tr %Ss/%03>Hs %>st %<st %rm %ru"
MAX_LINES = 2_000_000
MAX_PLACES = 10_000


class Logged(msgspec.Struct, frozen=True):
    """What a log says."""

    contacts: list[Contact]
    refused: list[RefusedAttempt]


class _Sum(msgspec.Struct):
    connections: int = 0
    sent: int = 0
    received: int = 0


def read_log(path: Path, named: frozenset[tuple[str, int]]) -> Logged:
    """Read an access log in ``FORMAT``; lines that are not in it are passed over.

    Args:
        named: (name, port) of the window's hosts.
    """
    contacts: dict[tuple[str, int], _Sum] = {}
    refused: dict[tuple[str, str, int], int] = {}
    with path.open("r", encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream):
            if number >= MAX_LINES:
                break
            words = line.split(maxsplit=6)
            if len(words) != 7 or not (words[3].isdigit() and words[4].isdigit()):
                continue
            _, _, status, sent, received, method, url = words
            name, port = place(method, url.strip())
            if not name or name == UNNAMED:
                continue
            if "DENIED" in status or (name, port) not in named:
                key = (name, method.lower()[:16], port)
                if key in refused or len(refused) < MAX_PLACES:
                    refused[key] = refused.get(key, 0) + 1
                continue
            total = contacts.setdefault((name, port), _Sum())
            total.connections += 1
            total.sent += int(sent)
            total.received += int(received)
    return Logged(
        [
            Contact(
                hosts=[name], address="", port=port, connections=total.connections, sent=total.sent,
                received=total.received,
            )
            for (name, port), total in sorted(contacts.items())
        ],
        [
            RefusedAttempt(to=name, protocol=protocol, port=port, count=count)
            for (name, protocol, port), count in sorted(refused.items())
        ],
    )  # fmt: skip


def place(method: str, url: str) -> tuple[str, int]:
    """(name, port) that a request is for; an empty name where that cannot be told."""
    try:
        parts = urlsplit(f"//{url}" if method == "CONNECT" else url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        return (parts.hostname or "")[:253], port
    except ValueError:
        return "", 0
