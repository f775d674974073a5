"""Serials of bundles: each stream counts from 1, and a serial is never given to two different things.

``serials.json`` in the factory's state remembers what was given; every gift also stands in the ledger, and what one
of the two lacks is taken from the other, so losing the file (or being killed between the two) gives no serial twice.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.core.canonical import canonical_line
from airlock.core.errors import FormatError
from airlock.core.files import exclusive, write_file
from airlock.evidence import ledger

VERB = "serial"


class Serial(msgspec.Struct, frozen=True, kw_only=True):
    """One serial that was given.

    Attributes:
        identity: ``Plan.identity`` of what it was given to.
        content_digest, lock, definition: of the same, for people.
        ledger_head: hash of the ledger's entry that gave it: the head that the bundle carries. Kept, so that the same
            bundle written again is the same to the last byte.
    """

    serial: int
    identity: str
    content_digest: str
    lock: str
    definition: str
    ledger_head: str = ""


Streams = dict[str, list[Serial]]


def assign_serial(
    state: Path, ledger_path: Path, *, stream: str, identity: str, content_digest: str, lock: str, definition: str
) -> Serial:
    """The serial of what has that identity: the one it got before, or the stream's next.

    Args:
        state: the factory's state folder.
        ledger_path: the factory's ledger.

    Raises:
        ChainError: the ledger is broken.
        FormatError: ``serials.json`` cannot be read.
        StateError: another process is at it.
    """
    path = state / "serials.json"
    with exclusive(state / "serials.lock", "the list of bundle serials"):
        streams = _known(path, ledger_path)
        given = streams.setdefault(stream, [])
        for serial in reversed(given):
            if serial.identity == identity:
                return serial
        number = max((serial.serial for serial in given), default=0) + 1
        new = Serial(serial=number, identity=identity, content_digest=content_digest, lock=lock, definition=definition)
        facts = msgspec.to_builtins(new) | {"stream": stream}
        del facts["ledger_head"]
        entry = ledger.append(ledger_path, VERB, facts)
        new = msgspec.structs.replace(new, ledger_head=entry.hash)
        given.append(new)
        write_file(path, canonical_line(streams))
        return new


def _known(path: Path, ledger_path: Path) -> Streams:
    try:
        streams = msgspec.json.decode(path.read_bytes(), type=Streams)
    except FileNotFoundError:
        streams = {}
    except msgspec.MsgspecError as error:
        raise FormatError(
            f"{path} cannot be read: {error}", remedy="Remove it: it is made again from the ledger."
        ) from None
    for entry in ledger.entries(ledger_path):
        if entry.verb == VERB:
            serial = msgspec.convert(entry.data | {"ledger_head": entry.hash}, Serial)
            given = streams.setdefault(entry.data["stream"], [])
            if all(serial.serial != known.serial for known in given):
                given.append(serial)
    for given in streams.values():
        given.sort(key=lambda serial: serial.serial)
    return streams
