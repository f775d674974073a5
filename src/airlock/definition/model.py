"""What to build: the release definition (TOML). docs/formats/definition.md explains every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

Architecture = Literal["x86_64", "aarch64"]
DEBIAN_ARCHITECTURES: dict[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class KollaTable(_Table, frozen=True):
    """Which Kolla renders and builds.

    Attributes:
        source: ``pypi`` (with ``version``) or ``git`` (with ``ref``; the commit is locked; the repository's
            address is the upstream ``kolla`` of the factory's settings).
        template_overrides: Kolla template overrides, files beside the definition, in order.
        conf: options for kolla-build.conf, ``{section: {option: value}}``.
    """

    source: Literal["pypi", "git"] = "pypi"
    version: str = ""
    ref: str = ""
    template_overrides: list[str] = []
    conf: dict[str, dict[str, Any]] = {}


class BaseTable(_Table, frozen=True):
    """What the root image is.

    Attributes:
        distribution: Kolla's ``base``: ``debian`` or ``ubuntu``.
        release: its code name and Kolla's ``base_tag``: ``bookworm``.
        image: ``packages`` (made from locked packages by mmdebstrap) or a reference with digest.
        architectures: Kolla's names.
    """

    distribution: Literal["debian", "ubuntu", "rocky", "centos"]
    release: str
    architectures: list[Architecture]
    image: str = "packages"


class SourcesTable(_Table, frozen=True):
    """Where the OpenStack projects' own code comes from.

    Attributes:
        default: ``release`` (sdists from PyPI) or ``branch`` (tarballs, as Kolla itself does).
        release: specifier per kolla-build.conf section, e.g. ``keystone-base = "==25.0.0"``; the sections named here
            take releases. A project that upper-constraints pins needs no entry.
        branch: sections that take branch tarballs although the default is ``release``.
        constraints: the upper-constraints file beside the definition; ``requirements`` is made from it.
    """

    default: Literal["release", "branch"] = "release"
    release: dict[str, str] = {}
    branch: list[str] = []
    constraints: str = "upper-constraints.txt"


class GitTable(_Table, frozen=True):
    """A further git repository that the site needs; its address is the upstream of the same name.

    Attributes:
        ref: branch, tag or commit; the commit is locked.
    """

    ref: str


class PythonTable(_Table, frozen=True):
    """Pins beyond upper-constraints (which does not know pip, setuptools, wheel, nor what build isolation takes).

    Attributes:
        pins: PEP 508 requirements, added to the constraints.
        build_pins: PEP 508 requirements that hold in build isolation.
    """

    pins: list[str] = []
    build_pins: list[str] = []


class Definition(_Table, frozen=True):
    """A whole release definition; ``load.load_definition`` makes it.

    Attributes:
        name: the stream's name; bundle ids are ``<name>-r<serial>``.
        openstack: OpenStack release (``2024.1``).
        images: ``all``, or names and regular expressions of the images wanted (see ``kolla.selection``); parents follow
            by themselves.
        profile: Kolla's profiles, whose images are wanted besides; own ones stand in ``kolla.conf["profiles"]``.
        leave_out: image → why it is not built although it is selected; its descendants go with it.
        vendor_repositories: vendor apt repositories (and keys, and extrepo's) to keep, by Kolla's names;
            an empty list leaves all of them out.
        git: repositories that the bundle carries besides Kolla's, by name; a site's Gerrit is seeded from them.
        distribution_packages: images that take the distribution's own packages although Kolla means a vendor's.
        checks: per image a command that must succeed in a container of the built image, in the room.
    """

    name: str
    openstack: str
    kolla: KollaTable
    base: BaseTable
    images: list[str] | Literal["all"] = []
    profile: list[str] = []
    leave_out: dict[str, str] = {}
    vendor_repositories: list[str] = []
    distribution_packages: list[str] = []
    sources: SourcesTable = SourcesTable()
    python: PythonTable = PythonTable()
    git: dict[str, GitTable] = {}
    checks: dict[str, list[str]] = {}


class LoadedDefinition(msgspec.Struct, frozen=True):
    """A definition with the files it names.

    Attributes:
        path: the TOML file.
        files: relative name → bytes, of the TOML file itself and every file it names (constraints,
            overrides): exactly what the bundle carries in ``definition/``.
        digest: sha256 over names and bytes of ``files``.
    """

    definition: Definition
    path: Path
    files: dict[str, bytes]
    digest: str

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.path.parent

    @property
    def lock_path(self) -> Path:
        """The lock that belongs to this definition."""
        return self.path.with_name("airlock.lock")
