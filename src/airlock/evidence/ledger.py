"""The ledger: an append-only, hash-chained log of every command that changed something (docs/formats/ledger.md).

JSON Lines. Each entry names the hash of the one before it, so that an entry cannot be changed, removed or put in
between without every later hash changing too. It proves order and wholeness up to a head that someone else has seen
(the bundle carries the factory's, a receipt the site's); it does not keep root from writing a new chain.
"""

from __future__ import annotations

import fcntl
import os
import pwd
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from airlock.core.canonical import canonical, canonical_line
from airlock.core.digest import sha256_bytes
from airlock.core.errors import ChainError
from airlock.core.files import fsync_directory
from airlock.core.space import space_error

GENESIS = "0" * 64
"""``prev`` of the first entry, and the head of a ledger that has none."""

TORN = ".torn"
TORN_VERB = "ledger-torn"
_TAIL = 1 << 16  # bytes read at a time, from the end, to find the last line


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the ledger.

    Attributes:
        seq: 1 for the first, then one more each.
        time: UTC, RFC 3339, whole seconds.
        user: who ran the command; behind ``sudo`` the user who called it.
        verb: what was done (``bundle``, ``import``, ``build`` …).
        data: the verb's own facts, JSON values.
        prev: hash of the entry before, ``GENESIS`` for the first.
        hash: sha256 of the canonical JSON (RFC 8785) of this entry without ``hash``.
    """

    seq: int
    time: str
    host: str
    user: str
    verb: str
    data: dict[str, Any]
    prev: str
    hash: str


def utc_now() -> str:
    """Now, UTC, RFC 3339, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def current_user() -> str:
    """Who runs this command; behind ``sudo`` the user who called it."""
    if os.geteuid() == 0 and (caller := os.environ.get("SUDO_USER")):
        return caller
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def append(path: Path, verb: str, data: Mapping[str, Any]) -> Entry:
    """Append one entry, durably: on return it is on the disk.

    A last line that a crash left torn is moved to ``<path>.torn`` first, and an entry of verb ``ledger-torn`` says so.

    Args:
        path: the ledger; made when missing.
        data: JSON values; no floats that are not finite, no integers beyond 2**53.

    Raises:
        ChainError: the last whole entry is not what its hash says; nothing is appended.
        SpaceError: the disk is full; nothing is appended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with space_error(path, "the ledger's entry"), path.open("a+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        torn = _set_torn_line_aside(path, stream)
        last = _last(path, stream)
        if torn:
            last = _write(stream, last, TORN_VERB, torn)
        entry = _write(stream, last, verb, data)
    fsync_directory(path.parent)
    return entry


def entries(path: Path) -> Iterator[Entry]:
    """Every entry, checked against its own hash and the one before it; nothing for a missing ledger.

    Raises:
        ChainError: at the line where the chain breaks; entries before it have been given.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        return
    with stream:
        prev, seq = GENESIS, 0
        for number, line in enumerate(stream, 1):
            entry = _parse(line, f"{path}, line {number}")
            if entry.prev != prev or entry.seq != seq + 1:
                raise ChainError(
                    f"{path}, line {number}: does not follow the line before it "
                    f"(entry {entry.seq} after {seq}, made after {entry.prev[:12]}… and not after {prev[:12]}…)",
                    remedy=_REMEDY,
                )
            yield entry
            prev, seq = entry.hash, entry.seq


def verify_chain(path: Path) -> str:
    """Check the whole chain and return its head (the last hash; ``GENESIS`` for an empty or missing ledger).

    Raises:
        ChainError: naming the line where it breaks.
    """
    head = GENESIS
    for entry in entries(path):
        head = entry.hash
    return head


_REMEDY = "Compare with a head that was noted elsewhere (a bundle's manifest, a receipt) and with a backup."


def _parse(line: bytes, where: str) -> Entry:
    if not line.endswith(b"\n"):
        raise ChainError(
            f"{where}: is torn (it has no end: the machine or the program stopped while it was written)",
            remedy=f"The next command that changes something moves it to {TORN} beside the ledger and says so in it.",
        )
    try:
        entry = msgspec.json.decode(line, type=Entry)
        whole = canonical_line(entry) == line
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ChainError(f"{where}: not an entry of a ledger: {error}", remedy=_REMEDY) from None
    if not whole or _hash(entry) != entry.hash:
        raise ChainError(f"{where}: has been changed since it was written (its hash does not fit)", remedy=_REMEDY)
    return entry


def _hash(entry: Entry) -> str:
    fields = msgspec.structs.asdict(entry)
    del fields["hash"]
    return sha256_bytes(canonical(fields))


def _write(stream: FileIO, last: Entry | None, verb: str, data: Mapping[str, Any]) -> Entry:
    entry = Entry(
        seq=last.seq + 1 if last else 1,
        time=utc_now(),
        host=os.uname().nodename,
        user=current_user(),
        verb=verb,
        data=dict(data),
        prev=last.hash if last else GENESIS,
        hash="",
    )
    entry = msgspec.structs.replace(entry, hash=_hash(entry))
    end = stream.seek(0, os.SEEK_END)
    left = memoryview(canonical_line(entry))
    try:
        while left:
            left = left[stream.write(left) :]
        os.fsync(stream.fileno())
    except OSError:
        stream.truncate(end)
        raise
    return entry


def _last_line(stream: FileIO) -> tuple[int, bytes]:
    """(offset, bytes) of the last line, with its newline if it has one."""
    end = stream.seek(0, os.SEEK_END)
    tail = b""
    start = end
    while start > 0 and b"\n" not in tail[:-1]:
        start = max(0, start - _TAIL)
        stream.seek(start)
        tail = stream.read(end - start)
    cut = tail.rfind(b"\n", 0, max(0, len(tail) - 1)) + 1
    return start + cut, tail[cut:]


def _last(path: Path, stream: FileIO) -> Entry | None:
    offset, line = _last_line(stream)
    return _parse(line, f"{path}, the last line (at byte {offset})") if line else None


def _set_torn_line_aside(path: Path, stream: FileIO) -> dict[str, Any]:
    """Move an unfinished last line to ``.torn``; what was moved, or nothing. Safe to be killed at any point."""
    offset, line = _last_line(stream)
    if not line or line.endswith(b"\n"):
        return {}
    aside = path.with_name(path.name + TORN)
    with aside.open("ab") as torn:
        torn.write(line + b"\n")
        torn.flush()
        os.fsync(torn.fileno())
    fsync_directory(path.parent)
    stream.truncate(offset)
    os.fsync(stream.fileno())
    return {"file": aside.name, "offset": offset, "size": len(line), "sha256": sha256_bytes(line)}
