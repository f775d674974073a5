"""The rules that the OCI runtime wrapper adds: they decide every call; sockets of four families get through."""

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airlock.room import oci_wrapper

NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, 2**64 - 1))
RULES = oci_wrapper.socket_rules()


def matching(call: str, arguments: tuple[int, int, int]) -> list[dict]:
    compare = {
        "EQ": lambda value, wanted, second: value == wanted,
        "NE": lambda value, wanted, second: value != wanted,
        "GT": lambda value, wanted, second: value > wanted,
        "LE": lambda value, wanted, second: value <= wanted,
        "MASKED_EQ": lambda value, mask, second: value & mask == second,
    }
    return [
        rule
        for rule in RULES
        if call in rule["names"]
        and all(
            compare[c["op"].removeprefix("SCMP_CMP_")](arguments[c["index"]], c["value"], c["valueTwo"])
            for c in rule.get("args", [])
        )
    ]


@given(st.sampled_from(["socket", "socketpair", "io_uring_setup"]), NUMBERS, NUMBERS, NUMBERS)
def test_exactly_one_rule_decides_every_call(call, family, kind, protocol):
    assert len(matching(call, (family, kind, protocol))) == 1


@given(NUMBERS, NUMBERS, NUMBERS)
def test_only_sockets_that_the_network_namespace_confines_and_counts_are_allowed(family, kind, protocol):
    (rule,) = matching("socket", (family, kind, protocol))
    if rule["action"] == "SCMP_ACT_ALLOW":
        assert family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
        if family in (socket.AF_INET, socket.AF_INET6):
            assert kind & 0xF in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
            assert protocol <= 255 or protocol == oci_wrapper.IPPROTO_MPTCP


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(1, 1, 0), (2, 1, 6), (2, 2 | 0o2000000, 17), (10, 1, 0), (10, 2, 58), (16, 3, 0), (2, 5, 132), (2, 1, 262)],
)
def test_what_builds_need_is_allowed(family, kind, protocol):
    (rule,) = matching("socket", (family, kind, protocol))
    assert rule["action"] == "SCMP_ACT_ALLOW"


@pytest.mark.parametrize("family", [17, 38, 40, 43, 44, (1 << 32) + 40, (1 << 32) + 2])
def test_families_beyond_the_namespace_go_to_the_listener(family):
    (rule,) = matching("socket", (family, 1, 0))
    assert rule["action"] == "SCMP_ACT_NOTIFY"


def settings(*mounts: dict) -> dict:
    return {"listener": "/run/l.sock", "mounts": list(mounts)}


def config() -> dict:
    return {
        "root": {"path": "rootfs"},
        "process": {"args": ["true"], "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"]}},
        "mounts": [{"destination": "/proc", "type": "proc"}],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}],
            "sysctl": {"net.ipv4.ping_group_range": "0 0", "kernel.domainname": "x"},
            "seccomp": {
                "defaultAction": "SCMP_ACT_ERRNO",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [
                    {"names": ["socket", "read"], "action": "SCMP_ACT_ALLOW"},
                    {"names": ["socketcall"], "action": "SCMP_ACT_ALLOW"},
                ],
            },
        },
    }


def test_a_container_is_put_into_the_rooms_network_without_the_right_to_change_it(tmp_path):
    edited = config()
    oci_wrapper.edit(edited, settings(), str(tmp_path), "c1")
    assert [space["type"] for space in edited["linux"]["namespaces"]] == ["pid"]
    assert edited["linux"]["sysctl"] == {"kernel.domainname": "x"}
    assert edited["process"]["capabilities"]["bounding"] == ["CAP_CHOWN"]


def test_the_engines_own_rules_for_sockets_and_foreign_system_call_tables_are_gone(tmp_path):
    edited = config()
    oci_wrapper.edit(edited, settings(), str(tmp_path), "c1")
    seccomp = edited["linux"]["seccomp"]
    assert len(seccomp["architectures"]) == 1
    assert [rule for rule in seccomp["syscalls"] if "socketcall" in rule["names"]] == []
    assert seccomp["syscalls"][0] == {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    assert (seccomp["listenerPath"], seccomp["listenerMetadata"]) == ("/run/l.sock", "c1")


def test_a_container_that_asked_for_no_seccomp_gets_the_rules_all_the_same(tmp_path):
    edited = config()
    del edited["linux"]["seccomp"]
    oci_wrapper.edit(edited, settings(), str(tmp_path), "c1")
    assert edited["linux"]["seccomp"]["syscalls"] == RULES


def test_logs_are_covered_only_where_the_image_has_them(tmp_path):
    root = tmp_path / "rootfs"
    (root / "var/log/apt").mkdir(parents=True)
    (root / "var/log/dpkg.log").write_bytes(b"")
    wanted = [
        {"kind": "directory", "target": "/var/log/apt"},
        {"kind": "file", "target": "/var/log/dpkg.log"},
        {"kind": "file", "target": "/var/log/alternatives.log"},
        {"kind": "directory", "target": "/var/cache/ldconfig"},
    ]
    edited = config()
    oci_wrapper.edit(edited, settings(*wanted), str(tmp_path), "c1")
    assert [mount["destination"] for mount in edited["mounts"]] == ["/proc", "/var/log/apt", "/var/log/dpkg.log"]
    assert Path(edited["mounts"][2]["source"]).read_bytes() == b""


def test_a_link_in_the_image_never_leads_a_mount_elsewhere(tmp_path):
    root = tmp_path / "rootfs"
    (root / "var").mkdir(parents=True)
    (root / "var/log").symlink_to("/etc")
    (tmp_path / "outside").mkdir()
    assert not oci_wrapper.exists(str(root), "/var/log/apt", True)
    assert not oci_wrapper.exists(str(root), "/var/log", True)
