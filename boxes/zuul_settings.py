"""What Zuul is told at its start: zuul.conf, its tenant, and whose host key is Gerrit's."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from airlock.core.files import write_file
from airlock.core.process import find_tool
from boxes.network import LOOPBACK
from boxes.zuul_install import install
from boxes.zuul_services import Service
from boxes.zuul_tokens import AUDIENCE, ISSUER, LIFETIME

if TYPE_CHECKING:
    from boxes.zuul import Zuul

CONFIG_PROJECT = "project-config"
GERRIT_NAME = "review.example.org"
"""What Zuul calls the Gerrit, in paths of checkouts; the same wherever it listens."""


class Section(msgspec.Struct, frozen=True):
    """A section of zuul.conf."""

    name: str
    values: Mapping[str, object]


def write_settings(zuul: Zuul) -> None:
    """Write all that Zuul is started with."""
    tenant = {
        "name": zuul.tenant,
        "use-nodepool": False,
        "source": {
            "gerrit": {
                "config-projects": [{CONFIG_PROJECT: {"load-branch": "main"}}],
                "untrusted-projects": [{project: {"include": []}} for project in zuul.projects],
            }
        },
    }
    write_file(zuul.folder / "tenants.yaml", json.dumps([{"tenant": tenant}], indent=1).encode())
    _trust_gerrit(zuul)
    _write_config(zuul.config, _sections(zuul))


def _trust_gerrit(zuul: Zuul) -> None:
    """Have the git that fetches from Gerrit believe its host key and no other.

    Zuul runs ``ssh`` for it, which looks for host keys in the home of this user, whatever HOME is.
    """
    config = zuul.folder / "ssh_config"
    write_file(config, f"UserKnownHostsFile {zuul.gerrit.known_hosts}\nStrictHostKeyChecking yes\n".encode())
    # What a command line says goes before: Ansible names the host keys of nodes there.
    words = [find_tool("ssh", "openssh-client"), "-F", str(config)]
    write_file(zuul.executor.programs / "ssh", f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'.encode(), mode=0o755)


def _sections(zuul: Zuul) -> list[Section]:
    tls = zuul.zookeeper.tls
    installed, jobs = install(), zuul.executor.jobs
    http, ports = zuul.gerrit, zuul.ports

    def service(box: Service, **more: object) -> Section:
        places = {"state_dir": box.folder, "pidfile": box.folder / "pid", "command_socket": box.socket}
        return Section(box.name.removeprefix("zuul-"), places | more)

    return [
        Section("zookeeper", {"hosts": zuul.zookeeper.address, "tls_ca": tls.authority, "tls_cert": tls.client,
                              "tls_key": tls.client_key}),
        Section("keystore", {"password": zuul.secret("keystore")}),
        Section("database", {"dburi": zuul.database.uri}),
        service(zuul.scheduler, tenant_config=zuul.folder / "tenants.yaml"),
        Section("merger", {"git_user_name": "Zuul", "git_user_email": "zuul@example.org"}),
        service(zuul.launcher, temp_dir=zuul.launcher.folder),
        service(zuul.web, listen_address=LOOPBACK, port=ports.web, root=f"{zuul.address}/"),
        service(
            zuul.executor, git_dir=zuul.executor.folder / "git", job_dir=jobs, hostname="localhost",
            finger_port=ports.streams, private_key_file=zuul.node.key, trusted_rw_paths=zuul.logs.files,
            trusted_ro_paths=installed.ansible, untrusted_ro_paths=installed.ansible,
            ansible_root=installed.ansible_root, manage_ansible="false", sigterm_method="stop",
            # This machine is not the executor's alone: it takes work whatever else goes on.
            load_multiplier=100, min_avail_mem=1, min_avail_hdd=1,
        ),
        Section("auth operators", {
            "driver": "HS256", "allow_authz_override": "true", "realm": AUDIENCE, "client_id": AUDIENCE,
            "issuer_id": ISSUER, "secret": zuul.secret("operators"), "max_validity_time": LIFETIME + 60,
        }),
        Section("connection gerrit", {
            "driver": "gerrit", "server": http.ssh_host, "port": http.ssh_port, "canonical_hostname": GERRIT_NAME,
            "baseurl": http.address, "user": http.zuul.user, "sshkey": http.zuul.key, "auth_type": "basic",
            # Over HTTP git would keep the password in its configuration, where jobs' checkouts are.
            "password": http.zuul.password, "git_over_ssh": "true",
        }),
        Section("connection static", {"driver": "static"}),
    ]  # fmt: skip


def _write_config(path: Path, sections: Sequence[Section]) -> None:
    """Write zuul.conf, for its owner alone: it holds passwords."""
    lines = []
    for section in sections:
        lines.append(f"[{section.name}]")
        # A per cent sign begins an interpolation (configparser).
        lines += [f"{key}={str(value).replace('%', '%%')}" for key, value in section.values.items()]
    write_file(path, ("\n".join(lines) + "\n").encode(), mode=0o600)
