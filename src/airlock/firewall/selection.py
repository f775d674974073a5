"""Whose traffic a window confines: ``[window] confine`` read into what packet rules can match."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from airlock.core.errors import ToolError, UsageError, WindowError
from airlock.core.netns import NETNS_DIRECTORY

_INTERFACE = re.compile(r"[A-Za-z0-9][\w.@+-]{0,14}\Z")
_NAMESPACE = re.compile(r"[A-Za-z0-9][\w.-]{0,63}\Z")
_CGROUP = re.compile(r"[\w.@:/-]{1,200}\Z")
KINDS = "airlock, user:NAME, cgroup:PATH, subnet:CIDR, interface:NAME, namespace:NAME, machine"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What is confined.

    Attributes:
        own: path of Airlock's own control group below the cgroup2 mount; empty where it is not asked for.
        cgroups: of others.
        users: numbers of users.
        subnets: of containers, whose packets this machine forwards.
        interfaces: that packets come in by to be forwarded.
        namespace: a network namespace, all of it.
        machine: all that this machine sends.
    """

    own: str = ""
    cgroups: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    subnets: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    namespace: str = ""
    machine: bool = False

    @property
    def whole(self) -> bool:
        """Whether everything in the network namespace of the rules is confined."""
        return self.machine or bool(self.namespace)

    @property
    def forwards(self) -> bool:
        """Whether packets of others that are forwarded are confined."""
        return bool(self.subnets or self.interfaces)

    @property
    def groups_only(self) -> bool:
        """Whether control groups alone are confined, which packets that come in can be told by, too."""
        return bool(self.levels) and not (self.users or self.whole or self.forwards)

    @property
    def levels(self) -> list[tuple[int, str]]:
        """(depth, path) of each control group, as nft takes them."""
        return [(path.count("/") + 1, path) for path in (self.own, *self.cgroups) if path]


def select(confine: Sequence[str], own: str) -> Selection:
    """Read ``[window] confine``.

    Args:
        own: what Airlock's own control group is called.

    Raises:
        UsageError: a word that says nothing, or nothing at all is confined.
        ToolError: this kernel has no control groups for ``airlock`` and ``cgroup``.
    """
    found: dict[str, list[str]] = {}
    for text in confine:
        kind, _, value = text.partition(":")
        if (kind in ("airlock", "machine")) == bool(value):
            raise _unknown(text)
        found.setdefault(kind, []).append(value)
    if not found or set(found) - {"airlock", "user", "cgroup", "subnet", "interface", "namespace", "machine"}:
        raise _unknown(", ".join(sorted(found)) or "nothing")
    if "namespace" in found and (len(found) > 1 or len(found["namespace"]) > 1):
        raise UsageError("[window] confine: a namespace is confined as a whole and alone", remedy=f"Of {KINDS}.")
    if {"airlock", "cgroup"} & set(found) and cgroup_root() is None:
        raise ToolError(
            "this machine has no cgroup2 mounted, which confining `airlock` takes",
            remedy='Mount it, or confine a user: [window] confine = ["user:NAME"].',
        )
    return Selection(
        own=own if "airlock" in found else "",
        cgroups=tuple(_cgroup(value) for value in found.get("cgroup", [])),
        users=tuple(_user(value) for value in found.get("user", [])),
        subnets=tuple(_subnet(value) for value in found.get("subnet", [])),
        interfaces=tuple(_plain(value, _INTERFACE, "interface") for value in found.get("interface", [])),
        namespace=next((_plain(value, _NAMESPACE, "namespace") for value in found.get("namespace", [])), ""),
        machine="machine" in found,
    )


def cgroup_root() -> Path | None:
    """Where cgroup2 is mounted; the unified hierarchy, or the one beside those of cgroup 1."""
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


def make_cgroup(path: str) -> Path:
    """Airlock's own control group, made when missing. It stays: rules name it by number, not by name.

    Raises:
        WindowError: it cannot be made.
    """
    root = cgroup_root()
    if root is None:
        raise WindowError("cgroup2 is not mounted any more")
    place = root / path
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise WindowError(
            f"the control group {place} cannot be made: {error.strerror}",
            remedy='Run it as root, or confine a user: [window] confine = ["user:NAME"].',
        ) from None
    return place


def _unknown(text: str) -> UsageError:
    return UsageError(f"[window] confine: {text!r} says nothing that can be confined", remedy=f"Of {KINDS}.")


def _plain(value: str, pattern: re.Pattern[str], kind: str) -> str:
    if not pattern.match(value):
        raise UsageError(f"[window] confine: {value!r} is no {kind}", remedy=f"Of {KINDS}.")
    if kind == "namespace" and not (NETNS_DIRECTORY / value).exists():
        raise WindowError(f"there is no network namespace {value}", remedy=f"Make it: ip netns add {value}")
    return value


def _cgroup(value: str) -> str:
    path = value.strip("/")
    root = cgroup_root()
    if not _CGROUP.match(path) or ".." in path.split("/"):
        raise UsageError(f"[window] confine: {value!r} is no path of a control group")
    if root is not None and not (root / path).is_dir():
        raise WindowError(
            f"there is no control group {value} below {root}", remedy="Start the service that it is of, then open."
        )
    return path


def _user(value: str) -> int:
    try:
        number = int(value) if value.isdigit() else pwd.getpwnam(value).pw_uid
    except KeyError:
        raise UsageError(f"[window] confine: there is no user {value} on this machine") from None
    if number == 0:
        raise UsageError(
            "[window] confine: root is the whole machine; name a user of the factory's own, or `airlock`",
            remedy=f"Of {KINDS}.",
        )
    return number


def _subnet(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise UsageError(
            f"[window] confine: {value!r} is no subnet: {error}", remedy="10.88.0.0/16, fd00::/64 …"
        ) from None


def may_confine(selection: Selection) -> bool:
    """Whether this process's own traffic is among what is confined, once it has entered."""
    return bool(selection.own or selection.whole) or os.geteuid() in selection.users
