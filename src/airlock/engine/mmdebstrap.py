"""mmdebstrap: a Debian root file system made of locked packages, the same bytes each time (mmdebstrap(1)).

Variant ``required`` with apt: Essential packages unpacked first, then apt and everything of Priority: required. That is
what Debian's own container images hold, and what ``lock.apt_resolver.AptResolver.base`` foresees.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from airlock.core.errors import BuildError
from airlock.core.process import clean_environment, find_tool, last_lines, run

RECIPE = "mmdebstrap required+apt 2"
"""Name of how a root file system is made; part of the key under which one is kept. Change it with the recipe."""

# As in Debian's official container images: services do not start while an image is built, apt keeps neither .debs nor
# caches of them in a layer, and no translations are asked for.
_POLICY_RC_D = "#!/bin/sh\nexit 101\n"
_APT_CONF = """\
Acquire::Languages "none";
Apt::AutoRemove::SuggestsImportant "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""


def make_base(
    *,
    tar: Path,
    sources_list: str,
    suite: str,
    debian_arch: str,
    run_prefix: Sequence[str] = (),
    source_date_epoch: int,
    fetch_list: str = "",
) -> None:
    """Write a root file system as an uncompressed tar.

    The same packages, source list and time give the same bytes: members are sorted, owners numeric, no time lies after
    ``source_date_epoch``; logs, caches, lists and the machine's own names are left out.

    Args:
        tar: the result; replaced only by a whole one.
        sources_list: text of the image's /etc/apt/sources.list; nothing else names sources there.
        suite: the distribution's code name. Packages come from all of ``sources_list`` alike, by version.
        debian_arch: ``amd64`` …, which the machine must be able to run.
        run_prefix: words before the command, to run it in another namespace; root there.
        source_date_epoch: seconds since 1970.
        fetch_list: sources to fetch from while making it, where they are not those of ``sources_list``.

    Raises:
        BuildError: mmdebstrap failed; its last words are in the message.
        ToolError: it is not installed.
    """
    program = find_tool("mmdebstrap", "mmdebstrap")
    tar = tar.absolute()
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-", dir=tar.parent) as name:
        work = Path(name)
        part = work / "root.tar"
        files = {"sources.list": sources_list, "fetch.list": fetch_list or sources_list, "apt.conf": _APT_CONF}
        for file, text in (files | {"policy-rc.d": _POLICY_RC_D}).items():
            (work / file).write_text(text, encoding="utf-8")
        command = [
            *run_prefix,
            program,
            "--quiet",
            "--mode=root",
            "--variant=required",
            "--include=apt",
            "--format=tar",
            f"--architectures={debian_arch}",
            *(f"--customize-hook={line}" for line in _hooks(work)),
            # No suite: with one mmdebstrap would narrow Essential to that suite and pass security updates by.
            "",
            str(part),
            str(work / "fetch.list"),
        ]
        env = clean_environment(SOURCE_DATE_EPOCH=str(source_date_epoch), TMPDIR=name)
        result = run(command, env=env, cwd=work)
        if result.returncode != 0 or not part.exists():
            raise BuildError(
                f"mmdebstrap could not make the {suite} base image for {debian_arch}: {last_lines(result)}",
                remedy="See that the bundle's package indexes are served, and that this runs as root.",
            )
        part.replace(tar)


def _hooks(work: Path) -> list[str]:
    """Shell lines run by mmdebstrap before it cleans up; ``$1`` is the root file system."""
    folder = shlex.quote(str(work))
    return [
        # mmdebstrap copies these two from the machine; the engine puts its own there when a container runs.
        'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"',
        'rm -f "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/sources.list',
        f'install -m 0644 {folder}/sources.list "$1/etc/apt/sources.list"',
        f'install -m 0644 {folder}/apt.conf "$1/etc/apt/apt.conf.d/docker-clean"',
        f'install -m 0755 {folder}/policy-rc.d "$1/usr/sbin/policy-rc.d"',
        'rm -f "$1"/var/log/*.log "$1"/var/log/apt/* "$1"/var/cache/ldconfig/aux-cache "$1"/var/cache/apt/*.bin',
        # The room covers these two while it builds, so that no layer holds the time of the build; they must be there.
        ': > "$1/var/log/dpkg.log"; : > "$1/var/log/alternatives.log"',
        'rm -f "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/etc/*-',
    ]
