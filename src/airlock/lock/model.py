"""The lock: images, demands and artifacts, resolved. JSON Lines in one total order (docs/formats/lock.md).

The first line is the header; then every image, every demand, every artifact, each group sorted by its
key. A diff of two locks in review reads like a change log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from airlock.core.canonical import canonical_line
from airlock.core.digest import is_sha256, sha256_bytes
from airlock.core.errors import FormatError
from airlock.core.text import is_plain

FORMAT = 1
MAX_SHOWN = 200

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""What canonical JSON can say exactly (RFC 8785)."""

Kind = Literal[
    "apt",  # one apt command of one RUN; spec is its words; answered by .deb files (none for update, clean …)
    "python",  # one pip command; spec is its words; answered by wheels and sdists
    "python-build",  # what building one sdist needs in isolation; spec is the sdist's file name
    "source",  # one source or plugin archive that kolla-build adds to the context; spec is its kolla-build.conf section
    "file",  # one file that a RUN fetches by curl or wget; spec is its address
    "key",  # keys of vendor repositories that a RUN fetches; spec is an address, or a keyserver and the keys' ids
    "galaxy",  # one `ansible-galaxy collection install`; spec is its words; answered by collections
    "gem",  # one `gem install`; spec is its words; answered by Ruby gems
    "grafana-plugin",  # one `grafana-cli plugins install`; spec is its words; answered by plugins
    "git-clone",  # one `git clone`; spec is ``<address>`` or ``<address> @ <branch>``; answered by a pack
    "base-image",  # FROM of a root image; answered by the .deb files it is made of, or by an image
    "vendor-repository",  # one that an image enables; answered by its key and source, by nothing where left out
    "git",  # a repository that the definition names; spec is ``<name> @ <ref>``; answered by a bundle of its history
    "tool",  # what the site needs to run Airlock and Kolla; spec is a requirement
]
ArtifactKind = Literal[
    "deb", "wheel", "sdist", "source", "file", "key", "galaxy", "gem", "grafana-plugin", "image", "git", "git-pack"
]
Trust = Literal["signed-index", "declared", "first-seen", "made"]


class Header(msgspec.Struct, frozen=True, tag="lock", tag_field="type"):
    """First line of a lock.

    Attributes:
        format: version of this format.
        release: name of the release definition.
        definition: sha256 of the definition's canonical digest (``definition.load.definition_digest``).
        kolla: ``{"source": "pypi"|"git", "version": …, "commit": …}``.
        images, demands, artifacts: counts of the lines that follow.
        size: bytes of all artifacts together.
        witness: sha256 of the transcript (in the pool) of everything that was solved against.
        requires: the solvers: program → version; the same bytes are promised only where these are the same.
    """

    format: int
    release: str
    definition: str
    kolla: dict[str, str]
    images: Count
    demands: Count
    artifacts: Count
    size: Count
    witness: str
    requires: dict[str, str]


class Image(msgspec.Struct, frozen=True, tag="image", tag_field="type"):
    """One image that will be built.

    Attributes:
        arch: Kolla's name (``x86_64``, ``aarch64``).
        parent: name of the parent image; empty for a root (its FROM is a ``base-image`` demand).
        dockerfile: sha256 of the rendered Dockerfile as upstream has it (addresses of upstreams).
        context: sha256 over the rendered context folder (names, modes, bytes), Dockerfile excluded.
        sealed: the same over the folder that is really built in the room, Dockerfile included.
    """

    base: str
    arch: str
    name: str
    parent: str
    dockerfile: str
    context: str
    sealed: str

    @property
    def key(self) -> tuple[str, str]:
        """Sort key."""
        return (self.arch, self.name)


class Demand(msgspec.Struct, frozen=True, tag="demand", tag_field="type"):
    """One input that one rendered image asks for, and the artifacts that answer it.

    Attributes:
        arch: Kolla's name; ``any`` for kind ``git``.
        image: the image; empty for the kinds ``git`` and ``tool``.
        line: line of the rendered upstream Dockerfile; 0 where there is none.
        spec: what is asked for, in the words of the Dockerfile (see Kind).
        artifacts: ids, sorted.
        note: why an empty answer is an answer (left out by the definition …), or how it was found.
    """

    arch: str
    image: str
    line: Count
    kind: Kind
    spec: str
    artifacts: tuple[str, ...] = ()
    note: str = ""

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """Sort key, and the identity that ``validate`` compares with a fresh reading of the Dockerfiles."""
        return (self.arch, self.image, self.line, self.kind, self.spec)

    @property
    def where(self) -> str:
        """``image IMAGE (ARCH), line N`` for messages."""
        if self.kind == "git":
            return f"git {self.spec}"
        if not self.image:
            return f"{self.kind} ({self.arch})"
        if not self.line:
            return f"image {self.image} ({self.arch})"
        return f"image {self.image} ({self.arch}), line {self.line}"


class Artifact(msgspec.Struct, frozen=True, omit_defaults=True, tag="artifact", tag_field="type"):
    """One file that answers demands.

    Attributes:
        id: ``<kind>/<file>`` (with ``#<first 8 of sha256>`` where two files share a name).
        name, version: the project's or package's; for wheels and sdists the name is normalised (PEP 503).
        arch: Debian's architecture for debs (``amd64``, ``all``), Kolla's for files of one, ``any`` otherwise.
        file: the file's own name, with its real extension.
        upstream: name of the upstream (``debian``, ``pypi`` …); ``airlock`` for files made by the factory.
        path: path below the upstream's address: for debs the Filename of Packages; for Python files
            ``<normalised project name>/<file name>`` (the address is read from the project's simple page).
        suite: for debs ``<suite>/<component>`` of the index that lists it; empty otherwise.
        stand_in: it comes from an upstream that imitates the real one; not written where it does not.
        trust: why the hash is trusted: ``signed-index``, ``declared`` (by Kolla), ``first-seen``, ``made`` (by the
            factory, from inputs that are locked).
    """

    id: str
    kind: ArtifactKind
    name: str
    version: str
    arch: str
    file: str
    sha256: str
    size: Count
    upstream: str
    path: str
    trust: Trust
    suite: str = msgspec.field(default_factory=str)  # a factory: so an empty one is written, as it always was
    stand_in: bool = False

    @property
    def key(self) -> str:
        """Sort key."""
        return self.id


Line = Header | Image | Demand | Artifact
T = TypeVar("T", Header, Image, Demand, Artifact)
_decoder = msgspec.json.Decoder(Line)


class Lock(msgspec.Struct, frozen=True):
    """A whole lock in memory (a few thousand lines)."""

    header: Header
    images: tuple[Image, ...]
    demands: tuple[Demand, ...]
    artifacts: tuple[Artifact, ...]

    def artifact(self, ident: str) -> Artifact | None:
        """The artifact of that id, or None."""
        return self.by_id.get(ident)

    @property
    def by_id(self) -> dict[str, Artifact]:
        """Artifacts by id."""
        return {artifact.id: artifact for artifact in self.artifacts}

    def to_bytes(self) -> bytes:
        """The canonical file."""
        return b"".join(canonical_line(line) for line in (self.header, *self.images, *self.demands, *self.artifacts))

    @property
    def digest(self) -> str:
        """sha256 of the canonical file."""
        return sha256_bytes(self.to_bytes())


def artifact_id(kind: ArtifactKind, file: str) -> str:
    """Id of an artifact whose file name is not shared by another."""
    return f"{kind}/{file}"


def first_seen(
    kind: ArtifactKind,
    file: str,
    upstream: str,
    path: str,
    sha256: str,
    size: int,
    *,
    name: str,
    version: str = "",
    arch: str = "any",
) -> Artifact:
    """An artifact that no signed index names: it is what its upstream served when it was locked."""
    return Artifact(
        artifact_id(kind, file), kind, name, version, arch, file, sha256, size, upstream, path, trust="first-seen"
    )


def make_lock(
    *,
    release: str,
    definition: str,
    kolla: dict[str, str],
    witness: str,
    requires: dict[str, str],
    images: Iterable[Image],
    demands: Iterable[Demand],
    artifacts: Iterable[Artifact],
) -> Lock:
    """Sort, merge and count.

    Raises:
        FormatError: two different artifacts claim one id, or two demands one key; a name with control characters.
    """
    merged: dict[str, Artifact] = {}
    for artifact in artifacts:
        if merged.setdefault(artifact.id, artifact) != artifact:
            raise FormatError(f"two different files are both called {artifact.id}")
    asked: dict[tuple[str, str, int, str, str], Demand] = {}
    for demand in demands:
        if asked.setdefault(demand.key, demand) != demand:
            raise FormatError(f"{demand.where} asks twice for {demand.kind} {demand.spec}, with different answers")
    sorted_images = tuple(sorted(images, key=lambda image: image.key))
    sorted_demands = tuple(sorted(asked.values(), key=lambda demand: demand.key))
    sorted_artifacts = tuple(sorted(merged.values(), key=lambda artifact: artifact.key))
    everything: list[Line] = [*sorted_images, *sorted_demands, *sorted_artifacts]
    for line in everything:
        _require_plain(line, "what was resolved")
    header = Header(
        format=FORMAT,
        release=release,
        definition=definition,
        kolla=kolla,
        images=len(sorted_images),
        demands=len(sorted_demands),
        artifacts=len(sorted_artifacts),
        size=sum(artifact.size for artifact in sorted_artifacts),
        witness=witness,
        requires=requires,
    )
    return Lock(header, sorted_images, sorted_demands, sorted_artifacts)


def read_lock(data: bytes, name: str = "the lock") -> Lock:
    """Parse a lock. Counts are *not* compared here: ``validate`` names what is missing instead.

    Raises:
        FormatError: not a lock, of a newer format, or with a line that does not parse, that says again what another
            one says, or that has control characters; the line is named.
    """
    lines: list[Line] = []
    seen: dict[tuple[str, object], int] = {}
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            line = _decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError(f"{name}, line {number}: {error}", remedy=_RESTORE) from None
        if b"\\" in raw or not raw.isascii():
            _require_plain(line, f"{name}, line {number}")
        key = (type(line).__name__, "" if isinstance(line, Header) else line.key)
        if (first := seen.setdefault(key, number)) != number:
            raise FormatError(f"{name}, line {number}: the same {key[0].lower()} as line {first}", remedy=_RESTORE)
        lines.append(line)
    if not lines or not isinstance(lines[0], Header):
        raise FormatError(f"{name} does not begin with a lock header", remedy="Write one with `airlock lock`.")
    header = lines[0]
    if header.format > FORMAT:
        raise FormatError(
            f"{name} is of format {header.format}; this program reads up to {FORMAT}", remedy="Use a newer airlock."
        )
    if not is_sha256(header.witness):
        raise FormatError(f"{name}: what it was solved against has no sha256", remedy=_RESTORE)
    artifacts = _of(lines, Artifact)
    for artifact in artifacts:
        if not is_sha256(artifact.sha256):
            raise FormatError(f"{name}: {artifact.id} has no sha256")
    return Lock(header, _of(lines, Image), _of(lines, Demand), artifacts)


_RESTORE = "Take the lock from version control again."


def _require_plain(line: Line, where: str) -> None:
    """Names are shown on terminals and pages: none may say something else there than it is.

    Raises:
        FormatError: one has control characters, or such as cannot be seen.
    """
    for text in _texts(msgspec.structs.astuple(line)):
        if not is_plain(text):
            said = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
            raise FormatError(
                f"{where}: {said!a} has characters that are not to be seen",
                remedy="Nothing that Kolla asks for is called so: see where it comes from, and leave it out.",
            )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])


def _of(lines: Sequence[Line], kind: type[T]) -> tuple[T, ...]:
    return tuple(line for line in lines if isinstance(line, kind))
