#!/usr/bin/python3 -IS
"""An OCI runtime that closes what a network namespace leaves open, then becomes the real one.

Stands alone: copied beside its ``runtime.json`` and run once for each container, it imports the standard library's
core only. On ``create`` (and ``run``) it edits the bundle's ``config.json``; any trouble ends it: then there is no
container.

* seccomp: only AF_UNIX, AF_INET, AF_INET6 and AF_NETLINK sockets; anything else goes to the listener, which records it
  and refuses. It is an allow list, since the kernel looks at 32 bits of an argument where a filter sees 64.
  - raw IP sockets and SOCK_PACKET (an old way to AF_PACKET by AF_INET) go to the listener as well;
  - IP protocols above 255 too: IPPROTO_SMC turns a TCP socket into an RDMA one (MPTCP is TCP and may pass);
  - io_uring opens sockets without the system call: its set-up goes to the listener;
  - foreign system call tables (i386's ``socketcall`` hides its arguments) are left out, so their use kills the process.
* every container is in the room's own network namespace, without the rights to change it;
* mounts that are asked for, on targets that exist, so that none is left behind in a layer.
"""

# pathlib and typing cost more time than all that is done here, and a build has hundreds of starts.
# ruff: noqa: PTH100, PTH104, PTH109, PTH112, PTH113, PTH114, PTH116, PTH118, PTH120, PTH123

from __future__ import annotations

import json
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
NETLINK_AUDIT, IPPROTO_MPTCP = 9, 262
EINVAL = 22
OURS = {"socket", "socketpair", "socketcall", "io_uring_setup", "io_uring_enter", "io_uring_register"}
DROPPED = {
    "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_PTRACE", "CAP_BPF",
    "CAP_PERFMON", "CAP_DAC_READ_SEARCH",
}  # fmt: skip


def compare(index: int, operator: str, value: int, second: int = 0) -> dict[str, Any]:
    return {"index": index, "op": "SCMP_CMP_" + operator, "value": value, "valueTwo": second}


def rule(names: list[str], action: str, *arguments: dict[str, Any], errno: int | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"names": names, "action": "SCMP_ACT_" + action}
    if arguments:
        made["args"] = list(arguments)
    if errno is not None:
        made["errnoRet"] = errno
    return made


def socket_rules() -> list[dict[str, Any]]:
    """Disjoint rules that cover every call, so that neither their order nor the profile's default action matters."""
    rules = []
    others = [compare(0, "EQ", f) for f in range(17) if f not in (AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)]
    for families in (*others, compare(0, "GT", AF_NETLINK)):
        rules.append(rule(["socket"], "NOTIFY", families))
    rules.append(rule(["socket"], "ALLOW", compare(0, "EQ", AF_UNIX)))
    rules.append(rule(["socket"], "ALLOW", compare(0, "EQ", AF_NETLINK), compare(2, "NE", NETLINK_AUDIT)))
    rules.append(rule(["socket"], "ERRNO", compare(0, "EQ", AF_NETLINK), compare(2, "EQ", NETLINK_AUDIT), errno=EINVAL))
    for family in (AF_INET, AF_INET6):
        for kind in range(16):
            head = (compare(0, "EQ", family), compare(1, "MASKED_EQ", 15, kind))
            if kind not in (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET):
                rules.append(rule(["socket"], "NOTIFY", *head))
                continue
            rules.append(rule(["socket"], "ALLOW", *head, compare(2, "LE", 255)))
            rules.append(rule(["socket"], "ALLOW", *head, compare(2, "EQ", IPPROTO_MPTCP)))
            for protocol in range(256, IPPROTO_MPTCP):
                rules.append(rule(["socket"], "NOTIFY", *head, compare(2, "EQ", protocol)))
            rules.append(rule(["socket"], "NOTIFY", *head, compare(2, "GT", IPPROTO_MPTCP)))
    rules.append(rule(["socketpair"], "ALLOW", compare(0, "EQ", AF_UNIX)))
    rules.append(rule(["socketpair"], "NOTIFY", compare(0, "NE", AF_UNIX)))
    rules.append(rule(["io_uring_setup", "io_uring_enter", "io_uring_register"], "NOTIFY"))
    return rules


def confine(seccomp: dict[str, Any] | None, listener: str, identifier: str) -> dict[str, Any]:
    """The profile the engine chose, with our rules in place of its own for the calls that open sockets."""
    seccomp = dict(seccomp or {"defaultAction": "SCMP_ACT_ALLOW"})
    native = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[os.uname().machine]
    kept = []
    for entry in seccomp.get("syscalls") or []:
        names = [name for name in entry["names"] if name not in OURS]
        if names:
            kept.append({**entry, "names": names})
    seccomp.update(
        architectures=[native],
        syscalls=kept + socket_rules(),
        listenerPath=listener,
        listenerMetadata=identifier,
    )
    return seccomp


def exists(root: str, target: str, directory: bool) -> bool:
    """Whether ``target`` is in the image already, reached without following any link."""
    path = root
    for part in target.strip("/").split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path):
            return False
    return os.path.isdir(path) if directory else os.path.isfile(path)


def mounts(config: dict[str, Any], settings: dict[str, Any], bundle: str) -> Iterator[dict[str, Any]]:
    root = os.path.join(bundle, config["root"]["path"])
    for number, wanted in enumerate(settings["mounts"]):
        kind, target = wanted["kind"], wanted["target"]
        if kind == "bind":
            mount = {"type": "bind", "source": wanted["source"], "options": ["rbind", *wanted["options"]]}
        elif not exists(root, target, kind == "directory"):
            continue
        elif kind == "directory":
            status = os.stat(root + target)
            mode = f"mode={status.st_mode & 0o7777:o}"
            owner = [f"uid={status.st_uid}", f"gid={status.st_gid}"]
            mount = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", mode, *owner]}
        else:
            scratch = os.path.join(bundle, f"airlock-scratch-{number}")
            status = os.stat(root + target)
            handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchown(handle, status.st_uid, status.st_gid)
            os.fchmod(handle, status.st_mode & 0o7777)
            os.close(handle)
            mount = {"type": "bind", "source": scratch, "options": ["bind", "rw"]}
        yield {"destination": target, **mount}


def edit(config: dict[str, Any], settings: dict[str, Any], bundle: str, identifier: str) -> None:
    linux = config.setdefault("linux", {})
    linux["seccomp"] = confine(linux.get("seccomp"), settings["listener"], identifier)
    linux["namespaces"] = [space for space in linux.get("namespaces", []) if space["type"] != "network"]
    linux["sysctl"] = {key: value for key, value in (linux.get("sysctl") or {}).items() if not key.startswith("net.")}
    capabilities = config["process"].get("capabilities") or {}
    for name, values in capabilities.items():
        capabilities[name] = [value for value in values or [] if value not in DROPPED]
    config["mounts"] = [*(config.get("mounts") or []), *mounts(config, settings, bundle)]


def main() -> None:
    here = os.path.dirname(os.path.abspath(sys.argv[0]))
    with open(os.path.join(here, "runtime.json"), encoding="utf-8") as stream:
        settings = json.load(stream)
    arguments = sys.argv[1:]
    if any(verb in arguments for verb in ("create", "run")):
        bundle = os.getcwd()
        for position, word in enumerate(arguments):
            if word in ("--bundle", "-b"):
                bundle = arguments[position + 1]
            elif word.startswith("--bundle="):
                bundle = word.partition("=")[2]
        path, identifier = os.path.join(bundle, "config.json"), arguments[-1]
        with open(path, encoding="utf-8") as stream:
            config = json.load(stream)
        edit(config, settings, bundle, identifier)
        with open(path + ".airlock", "w", encoding="utf-8") as stream:
            json.dump(config, stream)
        os.rename(path + ".airlock", path)
        line = {
            "time": time.time(),
            "id": identifier,
            "hostname": config.get("hostname", ""),
            "args": [word[:1000] for word in config["process"]["args"][:20]],
        }
        handle = os.open(settings["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(handle, json.dumps(line).encode() + b"\n")
        os.close(handle)
    state = [] if "--root" in arguments else ["--root", settings["state"]]
    os.execv(settings["runtime"], [settings["runtime"], *state, *arguments])  # noqa: S606  (becoming it is the purpose)


if __name__ == "__main__":
    main()
