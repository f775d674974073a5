"""What this machine lacks for each environment, and how to get it (docs/verbs/doctor.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec

from airlock.core.gerrit_settings import GerritPlace
from airlock.core.nexus_settings import NexusPlace
from airlock.core.settings import load_factory, load_site
from airlock.core.zuul_settings import ZuulPlace
from airlock.site import probes, room_probes, store_probes

Environment = Literal["factory", "site"]
State = Literal["ok", "missing", "warning"]

FACTORY: tuple[Environment, ...] = ("factory",)
SITE: tuple[Environment, ...] = ("site",)
BOTH: tuple[Environment, ...] = ("factory", "site")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# Bytes that keystone's set takes: pool, bundle and Kolla's environment; store, engine storage, registry and logs.
FACTORY_SPACE = 2_000_000_000
SITE_SPACE = 8_000_000_000

_VERSION = ("--version",)
_NEXUS = "docs/how-to/nexus.md tells how its repository and its user are made."
_ZUUL = "See [zuul] in site.toml; zuul/README.md says what belongs into the site's config project."
_GERRIT = "See [gerrit] in site.toml; docs/how-to/site.md says what its user must be allowed to."
_KERNEL = "Debian's own kernel has it; a container that this runs in must be allowed to (privileged)."


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        environments: who needs it.
        state: ``ok``; ``missing``: the environment does not work without; ``warning``: it may not be needed, or could
            not be checked.
        found: what was found, or what is wrong.
        remedy: how to get it; empty when ``ok``.
    """

    name: str
    environments: tuple[Environment, ...]
    state: State
    found: str
    remedy: str = ""


class Examination(msgspec.Struct, frozen=True):
    """One thing to look at; ``optional`` makes a lack a warning."""

    name: str
    environments: tuple[Environment, ...]
    probe: Callable[[], str]
    remedy: str
    optional: bool = False


class Program(msgspec.Struct, frozen=True):
    """A program that is called, the Debian package that has it, who calls it; ``use`` is told where it is optional."""

    name: str
    package: str
    environments: tuple[Environment, ...]
    version: tuple[str, ...] = ()
    minimum: str = ""
    use: str = ""


PROGRAMS = (
    Program("apt-get", "apt", BOTH, _VERSION, "2.6"),
    Program("apt-config", "apt", FACTORY, _VERSION),
    Program("dpkg-deb", "dpkg", BOTH, _VERSION),
    Program("gpgv", "gpgv", FACTORY, _VERSION),
    Program("gpg", "gnupg", FACTORY, _VERSION, "2.2", use="definitions that keep vendor repositories"),
    Program("bwrap", "bubblewrap", FACTORY, _VERSION, "0.8"),
    Program("prlimit", "util-linux", BOTH, _VERSION),
    Program("setpriv", "util-linux", FACTORY, _VERSION),
    Program("nft", "nftables", FACTORY, _VERSION, "1.0", use="firewall windows by nftables or squid"),
    Program("squid", "squid", FACTORY, _VERSION, "5.0", use="firewall windows by squid"),
    Program("git", "git", BOTH, _VERSION, "2.31", use="definitions that name git repositories, sites with a Gerrit"),
    Program("python3", "python3-minimal", BOTH, _VERSION, "3.11"),
    Program("perl", "perl-base", SITE, _VERSION),
    Program("ip", "iproute2", SITE),
    Program("ss", "iproute2", SITE),
    Program("nsenter", "util-linux", SITE, _VERSION),
    Program("unshare", "util-linux", SITE, _VERSION),
    Program("nft", "nftables", SITE, _VERSION, "1.0"),
    Program("podman", "podman", SITE, _VERSION, "4.3"),
    Program("runc", "runc", SITE, _VERSION, "1.1"),
    Program("skopeo", "skopeo", SITE, _VERSION, "1.9"),
    Program("mmdebstrap", "mmdebstrap", SITE, _VERSION, "1.3"),
    Program("docker-registry", "docker-registry", SITE, use="sites without a registry of their own"),
)


def examinations(
    place: Path,
    keyrings: Sequence[Path] = (KEYRING,),
    stores: Mapping[Environment, NexusPlace] = MappingProxyType({}),
    gerrit: GerritPlace | None = None,
    zuul: ZuulPlace | None = None,
) -> list[Examination]:
    """Everything that is looked at, in the order in which it is told.

    Args:
        place: where the environment lies or will lie: free space and overlayfs are tried there.
        keyrings: files that a distribution's Release is checked against.
        stores: each environment's Nexus, where it has one.
        gerrit, zuul: the site's, if it has one.
    """
    return [
        Examination("root", SITE, probes.root, "Run import and build as root (sudo)."),
        *(_program(entry) for entry in PROGRAMS),
        Examination("Python", BOTH, probes.python, _install("python3-venv")),
        Examination("uv", BOTH, probes.solver, "Install Airlock again with its dependencies (uv is one of them)."),
        Examination("shfmt", BOTH, probes.shell_parser, "Install Airlock again with its dependencies (shfmt-py)."),
        *(
            Examination(
                f"keyring {path.name}",
                FACTORY,
                partial(probes.keyring, path),
                f"{_install('debian-archive-keyring')}, or name keyrings under [apt] in factory.toml.",
            )
            for path in keyrings
        ),
        Examination(
            "sandbox for build hooks",
            FACTORY,
            probes.sandbox,
            f"{_install('bubblewrap')}; as a plain user the kernel must allow user namespaces (sysctl "
            "user.max_user_namespaces, kernel.unprivileged_userns_clone).",
        ),
        Examination("namespaces", SITE, room_probes.namespaces, _KERNEL),
        Examination(
            "packet rules (nftables)", SITE, room_probes.packet_rules, f"{_install('nftables iproute2')}. {_KERNEL}"
        ),
        Examination("overlayfs", SITE, partial(room_probes.overlay, place), f"Use ext4 or xfs there. {_KERNEL}"),
        Examination("seccomp notification", SITE, room_probes.seccomp_notification, _KERNEL),
        Examination("runc's seccomp", SITE, room_probes.runc_seccomp, _install("runc")),
        Examination("a container", SITE, room_probes.runc_container, f"{_install('runc')}. {_KERNEL}"),
        Examination("podman's storage", SITE, room_probes.podman_storage, _install("podman")),
        *(
            Examination(f"Nexus of the {one}", (one,), partial(store_probes.nexus, nexus), _NEXUS)
            for one, nexus in stores.items()
        ),
        *([Examination("Gerrit", SITE, partial(probes.gerrit, gerrit), _GERRIT)] if gerrit else []),
        *([Examination("Zuul", SITE, partial(probes.zuul, zuul), _ZUUL)] if zuul else []),
        _space("space for a factory", FACTORY, place, FACTORY_SPACE),
        _space("space for a site", SITE, place, SITE_SPACE),
    ]


def configured_keyrings(place: Path) -> list[Path]:
    """The keyrings that ``factory.toml`` in ``place`` names, else Debian's.

    Raises:
        UsageError: factory.toml is malformed.
    """
    named = load_factory(place).settings.apt.keyrings
    return [place / name for name in named] or [KEYRING]


def configured_gerrit(place: Path) -> GerritPlace | None:
    """The Gerrit that ``site.toml`` in ``place`` names.

    Raises:
        UsageError: site.toml is malformed.
    """
    return load_site(place).gerrit if (place / "site.toml").exists() else None


def configured_zuul(place: Path) -> ZuulPlace | None:
    """The Zuul that ``site.toml`` in ``place`` names.

    Raises:
        UsageError: site.toml is malformed.
    """
    return load_site(place).zuul if (place / "site.toml").exists() else None


def examine(
    environments: Sequence[Environment],
    place: Path,
    keyrings: Sequence[Path] = (KEYRING,),
    stores: Mapping[Environment, NexusPlace] = MappingProxyType({}),
    gerrit: GerritPlace | None = None,
    zuul: ZuulPlace | None = None,
) -> list[Check]:
    """Look at everything that one of ``environments`` needs; a few probes at a time."""
    found = examinations(place, keyrings, stores, gerrit, zuul)
    wanted = [one for one in found if set(one.environments) & set(environments)]
    with ThreadPoolExecutor(4) as workers:
        return list(workers.map(_look, wanted))


def lacking(checks: Sequence[Check], environment: Environment) -> list[Check]:
    """What the environment cannot do without and does not have."""
    return [check for check in checks if check.state == "missing" and environment in check.environments]


_AS_ROOT = "Run `airlock doctor` as root to know."


def _look(examination: Examination) -> Check:
    state: State = "ok"
    try:
        found = examination.probe()
    except probes.LackingError as error:
        state, found = ("warning" if examination.optional else "missing"), str(error)
    except probes.UnsureError as error:
        remedy = examination.remedy if probes.is_root() else _AS_ROOT
        return Check(examination.name, examination.environments, "warning", f"could not be checked: {error}", remedy)
    except OSError as error:
        state, found = "warning", f"could not be checked: {error}"
    remedy = "" if state == "ok" else examination.remedy
    return Check(examination.name, examination.environments, state, found, remedy)


def _program(entry: Program) -> Examination:
    probe = partial(probes.program, entry.name, entry.package, entry.version, entry.minimum)
    remedy = _install(entry.package) + (f" (for {entry.use})" if entry.use else "")
    return Examination(entry.name, entry.environments, probe, remedy, optional=bool(entry.use))


def _space(name: str, environments: tuple[Environment, ...], place: Path, needed: int) -> Examination:
    remedy = "Make room, or choose another place with --at."
    return Examination(name, environments, partial(probes.space, place, needed), remedy)


def _install(packages: str) -> str:
    return f"apt-get install --no-install-recommends {packages}"
