"""Settings of the two environments: ``factory.toml`` and ``site.toml`` (docs/formats/settings.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from airlock.core.errors import UsageError
from airlock.core.gerrit_settings import GerritPlace, GerritTable, gerrit_place
from airlock.core.nexus_settings import NexusPlace, NexusTable, check_nexus, nexus_place
from airlock.core.toml import parse_toml
from airlock.core.zuul_settings import ZuulPlace, ZuulTable, zuul_place


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class UpstreamTable(_Table, frozen=True):
    """One upstream's address, in place of the default (what Kolla's rendered files, apt, pip and uv name).

    Attributes:
        address: where it is; a mirror or a Nexus proxy may stand here.
        hosts: further hosts it may redirect to.
        stand_in: it imitates one that is out of reach; whatever is locked from it says so.
    """

    address: str
    hosts: list[str] = []
    stand_in: bool = False


class FetchTable(_Table, frozen=True):
    """How patiently and how broadly files are fetched.

    Attributes:
        connections: downloads at a time.
        retries: attempts per file after the first one, with growing pauses.
        timeout: seconds without a byte before an attempt counts as stalled.
    """

    connections: int = 8
    retries: int = 6
    timeout: float = 60.0


class AptTable(_Table, frozen=True):
    """Trust roots of apt.

    Attributes:
        keyrings: keyring files that may sign the distribution's Release files; default the host's
            /usr/share/keyrings/<distribution>-archive-keyring.gpg (for Ubuntu its cloud archive's besides).
        check_valid_until: refuse an expired Release.
    """

    keyrings: list[str] = []
    check_valid_until: bool = True


class WindowTable(_Table, frozen=True):
    """The firewall that is open during ``lock`` and ``refresh`` alone (docs/formats/window.md).

    Attributes:
        backend: who closes the way: this machine's nftables, a squid of Airlock's own, a command of the operator's.
        why: why there is none, for the record, where ``backend`` is ``none``.
        minutes: how long a window is open at most where the command does not say.
        max_minutes: the longest that may be asked for.
        confine: whose traffic is confined: ``airlock`` (its own processes), ``user:NAME``, ``cgroup:PATH``,
            ``subnet:CIDR``, ``interface:NAME``, ``namespace:NAME``, ``machine``.
        hosts: ``name`` or ``name:port`` of further hosts that upstreams lead to.
        private: names that may have addresses in private space.
        max_addresses: of one name.
        nameservers: whom the window's resolver asks; by default those of /etc/resolv.conf.
        canary: ``address:port`` that nobody named, tried to prove that it is refused.
        parent: ``http://host:port`` of the proxy that squid has to go through.
        parent_user, parent_password_file: login there; the file is relative to factory.toml.
        command: the hook: program and arguments; relative to factory.toml where it has a slash.
    """

    backend: Literal["none", "nftables", "squid", "hook"] = "none"
    why: str = ""
    minutes: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    max_minutes: Annotated[float, msgspec.Meta(gt=0)] = 240.0
    confine: list[str] = msgspec.field(default_factory=lambda: ["airlock"])
    hosts: list[str] = []
    private: list[str] = []
    max_addresses: Annotated[int, msgspec.Meta(gt=0, le=1024)] = 64
    nameservers: list[str] = []
    canary: str = "198.51.100.1:443"
    parent: str = ""
    parent_user: str = ""
    parent_password_file: str = ""
    command: list[str] = []


class FactoryFile(_Table, frozen=True):
    """``factory.toml``; every table may be left out."""

    upstreams: dict[str, UpstreamTable] = {}
    fetch: FetchTable = FetchTable()
    apt: AptTable = AptTable()
    artifacts: NexusTable | None = None
    window: WindowTable = WindowTable()


class Factory(msgspec.Struct, frozen=True):
    """Environment A's folder and settings."""

    root: Path
    settings: FactoryFile

    @property
    def nexus(self) -> NexusPlace | None:
        """The repository that has a copy of every artifact, if there is one."""
        table = self.settings.artifacts
        return None if table is None else nexus_place(table, self.root / "factory.toml")

    @property
    def pool(self) -> Path:
        """Content-addressed files."""
        return self.root / "pool"

    @property
    def indexes(self) -> Path:
        """Indexes of the last refresh, one folder a lock digest."""
        return self.root / "indexes"

    @property
    def cache(self) -> Path:
        """Kolla environments and other things that can be made again."""
        return self.root / "cache"

    @property
    def ledger(self) -> Path:
        """Append-only log of what changed something."""
        return self.root / "ledger.jsonl"

    @property
    def state(self) -> Path:
        """Bundle serials, locks of running commands."""
        return self.root / "state"

    @property
    def windows(self) -> Path:
        """Records of firewall windows, one file each."""
        return self.root / "windows"

    @property
    def rehearsal(self) -> Path:
        """What ``validate --rehearse`` built: the engine's storage, a journal, wheels, logs. All can be made again."""
        return self.root / "rehearsal"


class ArtifactsTable(NexusTable, frozen=True):
    """The Artifacts store: exactly one of a directory, relative to site.toml, and a Nexus."""

    directory: str = ""


class ImagesTable(_Table, frozen=True):
    """The Images registry: exactly one of ``registry`` and ``oci``.

    Attributes:
        registry: ``http://host:port`` or ``https://host:port`` of a Registry v2.
        oci: an OCI layout folder, relative to site.toml.
        namespace: repository prefix of published images.
        base_namespace: repository prefix of base images that a bundle brings.
        user, password_file: login of the registry; the file is relative to site.toml. Empty where it asks for none.
    """

    registry: str = ""
    oci: str = ""
    namespace: str = "kolla"
    base_namespace: str = "base"
    user: str = ""
    password_file: str = ""


class BuildTable(_Table, frozen=True):
    """How the site imports and builds.

    Attributes:
        require_expect: refuse an import without ``--expect DIGEST``.
        stand_ins: whether bundles are imported and built whose images stand on stand-ins of real upstreams.
    """

    require_expect: bool = False
    stand_ins: Literal["allow", "refuse"] = "allow"


class SiteFile(_Table, frozen=True):
    """``site.toml``."""

    name: str = "site"
    state: str = "."
    artifacts: ArtifactsTable = ArtifactsTable(directory="artifacts")
    images: ImagesTable = ImagesTable(oci="images")
    build: BuildTable = BuildTable()
    gerrit: GerritTable = GerritTable()
    zuul: ZuulTable = ZuulTable()


class Site(msgspec.Struct, frozen=True):
    """Environment B's folder and settings.

    Attributes:
        root: where site.toml lies.
        gerrit: the Gerrit that is seeded from bundles, if there is one.
        zuul: the Zuul that builds when it is triggered, if there is one.
    """

    root: Path
    settings: SiteFile
    file: str = "site.toml"
    gerrit: GerritPlace | None = None
    zuul: ZuulPlace | None = None

    @property
    def state(self) -> Path:
        """Journal, ledger, records, logs, engine storage: the one place of this site's state."""
        return (self.root / self.settings.state).resolve()

    @property
    def artifacts(self) -> Path:
        """The Artifacts store's directory, where it is one: see ``nexus``."""
        return (self.root / self.settings.artifacts.directory).resolve()

    @property
    def nexus(self) -> NexusPlace | None:
        """The Artifacts store's repository, where it is one."""
        table = self.settings.artifacts
        return nexus_place(table, self.root / self.file) if table.nexus else None

    @property
    def records(self) -> Path:
        """One folder a build: record.json and logs/."""
        return self.state / "records"

    @property
    def ledger(self) -> Path:
        """Append-only log of what changed something."""
        return self.state / "ledger.jsonl"

    @property
    def wheels(self) -> Path:
        """Wheels built in the room, by key."""
        return self.state / "wheels"

    @property
    def cache(self) -> Path:
        """Kolla environments, base images: things that can be made again from bundles."""
        return self.state / "cache"


def load_factory(root: Path) -> Factory:
    """Read ``root/factory.toml``; a missing file means the defaults.

    Raises:
        UsageError: unknown key or wrong value.
    """
    path = root / "factory.toml"
    data = path.read_bytes() if path.exists() else b""
    settings = parse_toml(data, FactoryFile, str(path), UsageError)
    if settings.artifacts is not None:
        check_nexus(settings.artifacts, path)
    return Factory(root.absolute(), settings)


def load_site(path: Path) -> Site:
    """Read ``site.toml`` (``path`` may be its folder).

    Raises:
        UsageError: missing, unknown key, neither or both of two places where exactly one is wanted, half of a Gerrit or
            Zuul.
    """
    if path.is_dir():
        path = path / "site.toml"
    if not path.exists():
        raise UsageError(f"{path} does not exist", remedy="docs/how-to/site.md shows a site.toml to start from.")
    settings = parse_toml(path.read_bytes(), SiteFile, str(path), UsageError)
    if bool(settings.images.registry) == bool(settings.images.oci):
        raise UsageError(f"{path}: [images] wants exactly one of registry and oci")
    if bool(settings.images.user) != bool(settings.images.password_file):
        raise UsageError(f"{path}: [images] wants user and password_file together, or neither")
    artifacts = settings.artifacts
    if bool(artifacts.directory) == bool(artifacts.nexus):
        raise UsageError(f"{path}: [artifacts] wants exactly one of directory and nexus")
    if artifacts.nexus:
        check_nexus(artifacts, path)
    elif artifacts.repository or artifacts.user or artifacts.password_file:
        raise UsageError(f"{path}: repository, user and password_file of [artifacts] go with nexus, not with directory")
    gerrit, zuul = gerrit_place(settings.gerrit, path), zuul_place(settings.zuul, path)
    return Site(path.parent.absolute(), settings, path.name, gerrit, zuul)
