"""What ``airlock doctor`` tries of kernel and engine: each thing that a sealed room does, done once and undone."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import tempfile
from pathlib import Path

from airlock.core.errors import AirlockError
from airlock.core.netns import NETNS_DIRECTORY, in_network
from airlock.core.process import run
from airlock.room import nft
from airlock.site.probes import LackingError, UnsureError, call, is_root

_USER_NAMESPACE = ["--user", "--map-root-user"]
_GET_ACTION_AVAIL, _USER_NOTIF = 2, 0x7FC00000  # seccomp(2)
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
_TEST_NET = ("192.0.2.1", 9)  # RFC 5737: no machine has it


def namespaces() -> str:
    """Every kind of namespace that the room and the containers use can be made."""
    kinds = ["--net", "--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup"]
    _unshare(kinds, "true")
    return "net, mount, pid, uts, ipc, cgroup"


def _unshare(kinds: list[str], *command: str | Path, data: bytes | None = None) -> str:
    """Run a command in namespaces of its own; a plain user takes a user namespace besides."""
    try:
        return call("unshare", *([] if is_root() else _USER_NAMESPACE), *kinds, "--", *command, data=data)
    except LackingError as error:
        if is_root():
            raise
        raise UnsureError(f"not without root here: {error}") from None


def packet_rules() -> str:
    """The room's own rules load in a throw-away network namespace; as root, they also refuse a packet and count it."""
    if not is_root():
        _unshare(["--net"], "nft", "-f", "-", data=nft.ruleset().encode())
        return "the room's rules load (that they count was not tried: this is not root)"
    name = f"airlock-doctor-{os.getpid()}"
    try:
        call("ip", "netns", "add", name)
        call("ip", "-n", name, "link", "set", "lo", "up")
        call("ip", "-n", name, "route", "add", "default", "dev", "lo", "src", "127.0.0.1")
        prefix = ["nsenter", f"--net={NETNS_DIRECTORY / name}", "--"]
        nft.load(prefix)
        in_network(NETNS_DIRECTORY / name, _send_one)
        counted = nft.read(prefix).packets
    except AirlockError as error:
        raise LackingError(error.message) from None
    finally:
        if (NETNS_DIRECTORY / name).exists():
            run(["ip", "netns", "delete", name])
    if counted != 1:
        raise LackingError(f"one packet was sent out of a sealed namespace, and the kernel counted {counted}")
    return "the room's rules load, refuse and count"


def _send_one() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"airlock doctor", _TEST_NET)
        except OSError:
            return  # refused at once, as it should be


def overlay(place: Path) -> str:
    """An overlayfs mount over the file system where images will lie."""
    while not (place.is_dir() and os.access(place, os.W_OK)):
        if place == place.parent:
            raise UnsureError("there is no folder there that this user may write to")
        place = place.parent
    with tempfile.TemporaryDirectory(prefix=".airlock-doctor-", dir=place) as made:
        folder = Path(made)
        for part in ("lower", "upper", "work", "merged"):
            (folder / part).mkdir()
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        _unshare(["--mount"], "mount", "-t", "overlay", "overlay", "-o", options, folder / "merged")
    return f"mounts over {place}"


def seccomp_notification() -> str:
    """The kernel hands refused calls to a listener (seccomp_unotify(2))."""
    number = _SECCOMP_CALL.get(platform.machine())
    if number is None:
        raise UnsureError(f"the number of seccomp(2) on {platform.machine()} is not known here")
    action = ctypes.c_uint32(_USER_NOTIF)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, _GET_ACTION_AVAIL, 0, ctypes.byref(action)) != 0:
        raise LackingError(os.strerror(ctypes.get_errno()))
    return f"kernel {platform.release()}"


def runc_seccomp() -> str:
    """That runc was built with seccomp and knows notification (runc 1.1: ``runc features``)."""
    try:
        features = json.loads(call("runc", "features"))["linux"]["seccomp"]
        actions = features["actions"] if features["enabled"] else []
    except (ValueError, KeyError, TypeError):
        raise LackingError("runc does not tell its features") from None
    if "SCMP_ACT_NOTIFY" not in actions:
        raise LackingError("this runc cannot hand refused calls to a listener")
    return "filters and notification"


def runc_container() -> str:
    """That runc starts a container: namespaces, cgroups, mounts and a seccomp filter together."""
    if not is_root():
        raise UnsureError("starting a container wants root")
    with tempfile.TemporaryDirectory(prefix="airlock-doctor-") as made:
        folder = Path(made)
        for part in ("usr", "proc", "dev", "sys"):
            (folder / "rootfs" / part).mkdir(parents=True)
        for link in ("bin", "lib", "lib64"):
            (folder / "rootfs" / link).symlink_to(f"usr/{link}")
        call("runc", "spec", cwd=folder)
        config = json.loads((folder / "config.json").read_bytes())
        config["process"].update(args=["/usr/bin/true"], terminal=False, rlimits=[])
        config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] in ("/proc", "/dev", "/sys")]
        config["mounts"].append({"destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"]})
        rule = {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}],
        }
        config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
        (folder / "config.json").write_text(json.dumps(config))
        name = f"airlock-doctor-{os.getpid()}"
        call("runc", "--root", folder / "state", "run", "--bundle", folder, name)
    return "started one"


def podman_storage() -> str:
    """That podman works with the overlay driver on a storage of its own."""
    if not is_root():
        raise UnsureError("podman's storage is tried as root alone")
    with tempfile.TemporaryDirectory(prefix="airlock-doctor-") as made:
        roots = ["--root", f"{made}/root", "--runroot", f"{made}/run", "--storage-driver", "overlay"]
        try:
            driver = call("podman", *roots, "info", "--format", "{{.Store.GraphDriverName}}").strip()
        finally:  # podman leaves a mount on its storage, which would keep the folder from going
            run(["umount", "-l", f"{made}/root/overlay"])
    if driver != "overlay":
        raise LackingError(f"podman's storage driver is {driver!r}")
    return "overlay storage"
