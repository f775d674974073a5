"""The build record: what went in, who asked, what was tried, what came out (docs/formats/record.md).

One JSON file a build, ``records/<build id>/record.json``, beside ``logs/``. Written when the build ends, also
when it failed: a failed build's record says how far it came.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from airlock.core.canonical import canonical
from airlock.core.errors import FormatError
from airlock.core.files import write_file

FORMAT = 1
RECORD = "record.json"
MAX_RECORD = 256 << 20


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """Who wanted this build, when, why, through what.

    Attributes:
        user: who asked: the requester that the starting system names, else ``account``.
        account: who ran the command on ``host``; behind sudo the user who called it. Empty in older records.
        through: ``command line``, or the name of the system that started it (``zuul``).
        time: when it was asked for, UTC, RFC 3339.
    """

    user: str
    account: str = ""
    host: str
    time: str
    reason: str
    through: str = "command line"
    details: dict[str, str] = {}


class BundleRef(msgspec.Struct, frozen=True, kw_only=True):
    """The bundle that went in; ``digest`` is its content digest, ``manifest`` the sha256 of MANIFEST.json."""

    id: str
    digest: str
    manifest: str
    lock: str
    definition: str


class Package(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """An installed package: ``kind`` is ``dpkg`` or ``pip``; ``sha256`` of its file where that is known."""

    kind: str
    name: str
    version: str
    arch: str = ""
    sha256: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was run in a container of the built image, in the room."""

    command: list[str]
    exit_code: int
    output: str


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image that came out.

    Attributes:
        digest: of the manifest as it lies in the registry (read back), ``sha256:…``.
        id: the image's configuration digest in the engine.
        reference: where it was published, tag included: the bundle's, which a later build of it moves.
        staging: the same under the build's own tag, which no other build has.
        parent: name of the parent image; the base image's digest for a root.
        timestamp: seconds since the epoch that its layers bear.
        sealed: digest of the rendered folder it was built from (the lock's).
        diff_ids: digests of its layers, uncompressed, base first.
        seconds: how long Kolla built it.
        cached_from: id of the build whose result was taken, empty when built here.
        stand_ins: ids of the lock's artifacts that went into it or an ancestor and imitate the real ones.
    """

    name: str
    digest: str
    id: str
    reference: str
    parent: str
    timestamp: int
    sealed: str
    diff_ids: list[str]
    packages: list[Package]
    seconds: float
    log: str
    checks: list[Check] = []
    cached_from: str = ""
    staging: str = ""
    stand_ins: list[str] = []


class UsedWheel(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that was built in a room from a locked sdist.

    Attributes:
        key: digest of everything that went into it.
        sdist: sha256 of the sdist.
        build: id of the build that made it.
    """

    file: str
    sha256: str
    key: str
    sdist: str
    build: str
    image: str


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A file the gateway served, to which images, how often; ``origin`` is ``bundle``, ``index`` or ``wheel``."""

    path: str
    sha256: str
    size: int
    origin: str
    images: list[str]
    count: int


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Packets for one destination that the kernel refused."""

    family: str
    address: str
    protocol: str
    port: int
    packets: int


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried besides the mirror.

    Attributes:
        room: kind of sealed room; ``cannot_prove`` says what that kind leaves open.
        refused_packets: the build's own packets for anywhere else; 0 in a clean build. The canary's are not in it.
        refused: the same by destination.
        refused_names: names the build looked up besides the mirror's.
        expected_names: look-ups that every build makes and that lead nowhere (apt's SRV, its own host name).
        refused_sockets: sockets of families that a network namespace does not confine, refused by seccomp.
        missing: paths asked of the gateway that the bundle does not have, with the status they got.
        canary: what the canary tried, and how each attempt ended; ``canary_packets`` were counted by the kernel.
    """

    room: str
    cannot_prove: list[str]
    refused_packets: int
    refused: list[Refused]
    refused_names: list[str]
    expected_names: list[str]
    refused_sockets: list[str]
    missing: list[str]
    canary_packets: int
    canary: list[dict[str, str]]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A whole build record.

    Attributes:
        state: ``success`` or ``failure``; ``error`` says why.
        engine: podman's, runc's and the storage driver's versions, the architecture, the kernel.
        git: repository → commit of what the bundle names by git refs.
        stages: seconds each stage took, in order.
        store: where the bundle lay: a directory, or address and repository of a Nexus.
    """

    format: int
    build_id: str
    state: str
    error: str
    trigger: Trigger
    bundle: BundleRef
    kolla: dict[str, str]
    git: dict[str, str]
    engine: dict[str, str]
    started: str
    ended: str
    stages: dict[str, float]
    images: list[BuiltImage]
    wheels: list[UsedWheel]
    network: Network
    served: list[Served]
    store: str = ""


def write_record(folder: Path, record: Record) -> Path:
    """Write ``folder/record.json`` (canonical JSON) and return its path."""
    path = folder / RECORD
    write_file(path, canonical(record) + b"\n")
    return path


def read_record(path: Path) -> Record:
    """Read a record (``path`` may be the build's folder).

    Raises:
        FormatError: there is none, or it is not one.
    """
    if path.is_dir():
        path = path / RECORD
    try:
        if path.stat().st_size > MAX_RECORD:
            raise FormatError(f"{path} is larger than a record can be")
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise FormatError(f"{path} is not a build record: {error}") from None
    if record.format > FORMAT:
        raise FormatError(f"{path} is of format {record.format}; this program reads up to {FORMAT}")
    return record
