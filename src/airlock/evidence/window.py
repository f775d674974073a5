"""The record of one firewall window: what was reachable, when, on whose word, what was contacted and what was refused.

One file a window in the factory's ``windows/``; it rides in the bundle as ``evidence/windows/<id>.json``
(docs/formats/window.md).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.core.canonical import canonical_line
from airlock.core.errors import FormatError, StateError
from airlock.core.files import write_file

FORMAT = 1
MAX_RECORD = 16 << 20  # bytes
MAX_RECORDS = 100_000


class OpenHost(msgspec.Struct, frozen=True, kw_only=True):
    """A host that was open: its name, port, and the upstreams that lead there."""

    name: str
    port: int
    upstreams: list[str] = []


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """An address that a name had while the window was open; ``first``: when it was first answered, UTC."""

    name: str
    address: str
    first: str


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent to and received from one place.

    Attributes:
        hosts: the named hosts that it can have been: several where they share the address.
        address: empty where a proxy made the connection.
        connections: that were begun.
        sent, received: bytes.
    """

    hosts: list[str]
    address: str
    port: int
    connections: int
    sent: int
    received: int


class RefusedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that was refused.

    Attributes:
        to: address, or the name that a proxy was asked for.
        port: 0 for protocols without ports.
        count: packets, or requests of a proxy.
    """

    to: str
    protocol: str
    port: int
    count: int


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to show that the window is what it claims.

    Attributes:
        when: ``open`` or ``closed``: the state of the window when it was tried.
        attempt: what was tried, in words.
        named: whether the host is one of the window's.
        outcome: what came of it.
        held: whether that is what had to come of it.
    """

    when: str
    attempt: str
    named: bool
    outcome: str
    held: bool


class WindowRecord(msgspec.Struct, kw_only=True):
    """See docs/formats/window.md.

    Attributes:
        state: ``open``, ``closed``, or ``none``: there was no window, ``why`` says why.
    """

    format: int = FORMAT
    id: str
    state: str
    backend: str
    why: str = ""
    confined: list[str] = []
    hosts: list[OpenHost] = []
    verb: str
    lock: str = ""
    reason: str
    requester: str
    user: str
    machine: str
    seconds: float = 0.0
    opened: str
    until: str = ""
    closed: str = ""
    closed_by: str = ""
    boot: str = ""
    addresses: list[Resolved] = []
    contacts: list[Contact] = []
    refused: list[RefusedAttempt] = []
    refused_names: list[str] = []
    refused_while_closed: int = 0
    access_log: str = ""
    proof: list[Proof] = []
    cannot_prove: list[str] = []
    notes: list[str] = []

    def to_bytes(self) -> bytes:
        """The file: canonical JSON (RFC 8785) and a newline."""
        return canonical_line(self)

    def save(self, folder: Path) -> str:
        """Write it to ``folder``; returns its sha256."""
        return write_file(folder / f"{self.id}.json", self.to_bytes())


def read_window(data: bytes, name: str) -> WindowRecord:
    """Parse a record.

    Raises:
        FormatError: it is none, or a newer one.
    """
    try:
        record = msgspec.json.decode(data, type=WindowRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"{name} is not the record of a window: {error}", remedy="Take it from a backup.") from None
    if record.format > FORMAT:
        raise FormatError(
            f"{name} is of format {record.format}; this airlock reads {FORMAT}", remedy="Use a newer one."
        )
    return record


def read_windows(folder: Path) -> list[WindowRecord]:
    """All records of a folder, the oldest first; none where there is no folder.

    Raises:
        FormatError: a file is not a record.
        StateError: there are more than anyone would look through.
    """
    paths = sorted(folder.glob("*.json"))
    if len(paths) > MAX_RECORDS:
        raise StateError(f"{folder} holds more than {MAX_RECORDS} records", remedy="Move old ones elsewhere.")
    found = []
    for path in paths:
        if path.stat().st_size > MAX_RECORD:
            raise FormatError(f"{path} is larger than any record of a window", remedy="Take it from a backup.")
        found.append(read_window(path.read_bytes(), str(path)))
    return sorted(found, key=lambda record: (record.opened, record.id))
