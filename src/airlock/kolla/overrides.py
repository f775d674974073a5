"""Kolla's own knobs, set for one rendering: kolla-build.conf, template overrides and an overlay of files.

Two renderings come from one definition. **upstream** has the addresses that Kolla would use and is read for demands;
**sealed** leads everything to the mirror in the room and is what is built there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import msgspec

from airlock.core.digest import sha256_bytes
from airlock.core.errors import DefinitionError
from airlock.core.files import write_file
from airlock.core.toml import nearest
from airlock.definition.model import DEBIAN_ARCHITECTURES, LoadedDefinition
from airlock.kolla.apt_sources import MIRROR, parse_sources_list, seal_sources_list
from airlock.kolla.environment import Description
from airlock.kolla.extrepo import override, stand_in
from airlock.kolla.vendors import kept_repositories, keys_override, repos_yaml, sealed

Mode = Literal["upstream", "sealed"]

NAMESPACE = "kolla"
TAG = "airlock"
BASE_IMAGE = "localhost/airlock/base"
"""Name, without tag (the release is the tag), of the root image in the room's engine."""

_OURS = {
    "base", "base_arch", "base_image", "base_tag", "debian_arch", "openstack_release", "namespace", "tag", "registry",
    "image_name_prefix", "engine", "podman_base_url", "work_dir", "docker_dir", "template_override", "template_only",
    "list_images", "list_dependencies", "save_dependency", "push", "push_threads", "pull", "regex", "profile",
    "repos_yaml", "logs_dir", "platform", "skip_existing", "skip_parents", "squash", "squash_cleanup",
    "squash_tmp_dir", "cache", "keep", "threads", "retries", "network_mode", "format", "summary", "summary_json_file",
    "quiet", "debug", "build_args", "locals_base",
}  # fmt: skip
_FILES = {"apt_sources_list", "apt_preferences", "rpm_setup_config"}
_EXTRA_SECTION = re.compile(r".+-(plugin|additions)-.+|.+-user")
_EXTRA_OPTIONS = ["type", "location", "reference", "enabled", "version", "sha256"]


class SealedSource(msgspec.Struct, frozen=True):
    """The file that the lock names for a section of kolla-build.conf; Kolla itself compares the sha256."""

    file: str
    sha256: str


class Knobs(msgspec.Struct, frozen=True):
    """Files that were written for one rendering, and what they are for.

    Attributes:
        conf: kolla-build.conf; ``conf_dir`` an empty folder in place of the host's ``kolla-build.conf.d``.
        overrides: in the order in which their blocks are merged.
        sources_list: name, in the context of ``base``, of the apt sources that this base takes; empty for rpm.
    """

    conf: Path
    conf_dir: Path
    overrides: list[Path]
    sources_list: str


def write_knobs(
    loaded: LoadedDefinition,
    kolla: Description,
    arch: str,
    mode: Mode,
    work: Path,
    sources: Mapping[str, SealedSource] | None = None,
    extrepo: Mapping[str, tuple[str, str]] | None = None,
) -> Knobs:
    """Write everything that tells Kolla how to render ``loaded`` for ``arch``, below ``work`` (an empty folder).

    Args:
        arch: Kolla's name.
        sources: by section, for ``sealed``.
        extrepo: for ``sealed``: repository that extrepo enables → its locked key and source, as addresses in the room.

    Raises:
        DefinitionError: the definition names something that this Kolla does not know, or that cannot be sealed.
    """
    check_names(loaded, kolla, arch)
    definition = loaded.definition
    context = Path(kolla.docker) / "base"
    listed = _sources_list(definition.base.distribution, definition.base.release, arch, context)
    overlay: dict[str, bytes] = {}
    overrides: list[tuple[str, bytes]] = [("labels.j2", _template("labels.j2"))]
    options: dict[str, Any] = {}
    sections = {name: dict(table) for name, table in definition.kolla.conf.items() if name != "DEFAULT"}

    kept = set(definition.vendor_repositories)
    repositories = kept_repositories(kolla, definition.base.distribution, definition.base.release, arch, kept)
    overrides.append(("vendor-keys.j2", keys_override(kolla, repositories)))
    enabled = {name: sealed(name, one) for name, one in repositories.items()} if mode == "sealed" else repositories
    write_file(work / "repos.yaml", repos_yaml(definition.base.distribution, enabled), durable=False)
    options["repos_yaml"] = work / "repos.yaml"
    # Upstream, extrepo itself is read where one of its repositories is kept; in the room it never runs.
    if (
        kolla.extrepo
        and definition.base.distribution == "debian"
        and (mode == "sealed" or not kept & set(kolla.extrepo))
    ):
        overlay["base/airlock-extrepo"] = stand_in(extrepo or {})
        overrides.append(("instead-of-extrepo.j2", override()))
    if mode == "sealed":
        if not listed:
            raise DefinitionError(f"{loaded.path}: base {definition.base.distribution} cannot be built sealed yet")
        overlay[f"base/{listed}"] = seal_sources_list((context / listed).read_text("utf-8"), listed).encode()
        overrides.insert(0, ("sealed-names.j2", _names(listed)))
        overrides.append(("sealed-header.j2", _template("sealed-header.j2")))
        for section, source in (sources or {}).items():
            sections[section] = _sealed_section(sections.get(section, {}), section, source, arch)
    user = [(f"definition/{name}", loaded.files[name]) for name in definition.kolla.template_overrides]
    last = [("sealed-pip.j2", _template("sealed-pip.j2"))] if mode == "sealed" else []

    for name, data in overlay.items():
        write_file(work / "overlay" / name, data, durable=False, mode=0o755 if name.endswith("extrepo") else 0o644)
    paths = []
    for name, data in [*overrides, *user, *last]:
        paths.append(work / "overrides" / name)
        write_file(paths[-1], data, durable=False)
    (work / "conf.d").mkdir()
    image, tag = base_reference(loaded, mode)
    defaults = definition.kolla.conf.get("DEFAULT", {}) | options | {
        "base": definition.base.distribution,
        "base_arch": arch,
        "debian_arch": DEBIAN_ARCHITECTURES[arch],
        "base_image": image,
        "base_tag": tag,
        "openstack_release": definition.openstack,
        "namespace": NAMESPACE,
        "tag": TAG,
        "engine": "podman",
        "podman_base_url": "unix:///nonexistent/podman.sock",
        "pull": False,
        "push": False,
        "retries": 0,
        "network_mode": "host",
        "format": "none",
        "work_dir": work,
        "template_override": work / "override.j2",
    }  # fmt: skip
    if overlay:
        defaults["docker_dir"] = work / "overlay"
    write_file(work / "kolla-build.conf", _ini({"DEFAULT": defaults} | sections).encode(), durable=False)
    return Knobs(work / "kolla-build.conf", work / "conf.d", paths, listed)


def check_names(loaded: LoadedDefinition, kolla: Description, arch: str) -> None:
    """Every name in the definition that this Kolla must know, but for those of images (known after rendering).

    Raises:
        DefinitionError: it does not know one; the nearest valid one is named.
    """
    definition, path = loaded.definition, loaded.path
    base = definition.base
    _one_of(base.distribution, kolla.bases, f"{path}: Kolla {kolla.version} has no base")
    _one_of(arch, kolla.architectures, f"{path}: Kolla {kolla.version} has no architecture")
    _one_of(arch, list(base.architectures), f"{path}: base.architectures does not hold")
    vendors = kolla.repositories.get(base.distribution, []) + kolla.extrepo
    for name in definition.vendor_repositories:
        _one_of(name, vendors, f"{path}: Kolla {kolla.version} has no vendor repository")
    profiles = [*kolla.profiles, *definition.kolla.conf.get("profiles", {})]
    for name in definition.profile:
        _one_of(name, profiles, f"{path}: Kolla {kolla.version} has no profile")
    for section, table in definition.kolla.conf.items():
        if section != "DEFAULT" and section not in kolla.sections and not _EXTRA_SECTION.fullmatch(section):
            _one_of(section, ["DEFAULT", *kolla.sections], f"{path}: [kolla.conf]: Kolla has no section")
        if section == "DEFAULT":
            _check_defaults(path, table, kolla)
            continue
        known = kolla.sections.get(section, _EXTRA_OPTIONS if "-user" not in section else ["uid", "gid", "group"])
        for option in table:
            if section != "profiles":
                _one_of(option, known, f"{path}: [kolla.conf.{section}] has no option")
        if table.get("type") == "local":
            raise DefinitionError(f"{path}: [kolla.conf.{section}] type = local: a local folder is not carried")


def _check_defaults(path: Path, table: Mapping[str, Any], kolla: Description) -> None:
    for option in table:
        where = f"{path}: [kolla.conf.DEFAULT] {option}"
        if option in _OURS:
            raise DefinitionError(f"{where} is set by Airlock", remedy="Remove it; the definition's own fields say it.")
        if option in _FILES:
            raise DefinitionError(f"{where} names a file, which is not carried", remedy="Use a template override.")
        if option == "tarballs_base":
            raise DefinitionError(
                f"{where} is an address", remedy="Set the address of the upstream opendev in factory.toml instead."
            )
        _one_of(option, [name for name in kolla.options if name not in _OURS], f"{path}: Kolla has no option")


def _one_of(name: str, valid: list[str], what: str) -> None:
    if name not in valid:
        raise DefinitionError(f"{what} {name!r}{nearest(name, valid)}")


def base_reference(loaded: LoadedDefinition, mode: Mode) -> tuple[str, str]:
    """Kolla's ``base_image`` and ``base_tag`` (which render as ``FROM image:tag``).

    In the room it is always ``BASE_IMAGE``, whatever it was made of; upstream a reference keeps its digest. The tag
    begins with the release in both, since Kolla's templates look at it.

    Raises:
        DefinitionError: a reference without digest.
    """
    base = loaded.definition.base
    if mode == "sealed" or base.image == "packages":
        return BASE_IMAGE, base.release
    found = re.fullmatch(r"(?P<name>[^@\s]+?)(:(?P<tag>[\w.-]+))?@(?P<digest>sha256:[0-9a-f]{64})", base.image)
    if not found:
        raise DefinitionError(
            f"{loaded.path}: base.image {base.image!r} is neither 'packages' nor a reference with digest",
            remedy='Write it as "registry.example.org/debian@sha256:…" (skopeo inspect prints the digest).',
        )
    return found["name"], f"{found['tag'] or base.release}@{found['digest']}"


def _sources_list(distribution: str, release: str, arch: str, context: Path) -> str:
    """The file that Kolla's ``base`` copies to /etc/apt/sources.list for this release; empty for rpm."""
    stem = f"sources.list.{distribution}"
    name = next((n for n in (f"{stem}.{release}.{arch}", f"{stem}.{release}", stem) if (context / n).exists()), "")
    if not name:
        releases = sorted({path.name.split(".")[3] for path in context.glob(f"{stem}.*")})
    else:
        listed = parse_sources_list((context / name).read_text("utf-8"), name)
        releases = sorted({re.split(r"[-/]", source.suite)[0] for source in listed})
    if releases and release not in releases:
        raise DefinitionError(f"this Kolla has no {distribution} release {release!r}{nearest(release, releases)}")
    return name


def _sealed_section(table: dict[str, Any], section: str, source: SealedSource, arch: str) -> dict[str, Any]:
    table = {key: value for key, value in table.items() if key not in ("type", "location", "reference", "sha256")}
    return table | {
        "type": "url",
        "location": f"{MIRROR}/sources/{quote(section)}/{quote(source.file)}",
        "sha256": {DEBIAN_ARCHITECTURES[arch]: source.sha256},
    }


def _names(sources_list: str) -> bytes:
    return (
        f'{{% set airlock_sources_list = "{sources_list}" %}}\n'
        f'{{% set airlock_mirror = "{MIRROR}" %}}\n'
        f'{{% set airlock_mirror_host = "{urlsplit(MIRROR).hostname}" %}}\n'
    ).encode()


def own_shims() -> frozenset[str]:
    """sha256 of the stand-ins for commands that Airlock itself puts into a build context."""
    return frozenset({sha256_bytes(stand_in({}))})


def _template(name: str) -> bytes:
    return resources.files("airlock.kolla").joinpath("templates", name).read_bytes()


def _ini(sections: Mapping[str, Mapping[str, Any]]) -> str:
    return "\n".join(line for name, table in sections.items() for line in [f"[{name}]", *_lines(name, table), ""])


def _lines(section: str, table: Mapping[str, Any]) -> Iterator[str]:
    for option, value in table.items():
        text = _text(value)
        if "\n" in text or "\n" in option:
            raise DefinitionError(f"[kolla.conf.{section}] {option}: a value is one line")
        yield f"{option} = {text}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(one) for one in value)
    if isinstance(value, dict):
        return ",".join(f"{key}:{_text(one)}" for key, one in value.items())
    return str(value)
