"""What the files of a base image say to apt: packages, marks, preferences, settings, and Python's distributions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from airlock.core.errors import ResolutionError
from airlock.kolla.apt_sources import AptSource
from airlock.lock.apt_conf import parse_conf
from airlock.lock.apt_python import metadata_identity, metadata_path
from airlock.lock.apt_state import AptState, Installed
from airlock.lock.apt_text import fields

_STATUS, _MARKS, _FOREIGN = "var/lib/dpkg/status", "var/lib/apt/extended_states", "var/lib/dpkg/arch"
_OS_RELEASE = "usr/lib/os-release"
_ETC = "etc/apt"
_SINGLE = {_STATUS, _MARKS, _FOREIGN, _OS_RELEASE, f"{_ETC}/apt.conf", f"{_ETC}/preferences"}
_FOLDERS = {_ETC, f"{_ETC}/apt.conf.d", f"{_ETC}/preferences.d", "var/lib/dpkg", "var/lib/apt"}
# Which files of a folder apt reads: apt.conf(5), apt_preferences(5).
_CONF = re.compile(r"etc/apt/apt\.conf\.d/[A-Za-z0-9_-]+(\.conf)?|etc/apt/apt\.conf")
_PREFERENCES = re.compile(r"etc/apt/preferences\.d/[A-Za-z0-9_-]+(\.pref)?|etc/apt/preferences")


def wanted(path: str) -> bool:
    """Whether a file of an image is read for its state, by its path relative to the root."""
    return path in _SINGLE or path in _FOLDERS or bool(
        _CONF.fullmatch(path) or _PREFERENCES.fullmatch(path) or metadata_path(path)
    )  # fmt: skip


def base_state(
    found: Mapping[str, bytes | None], architecture: str, sources: Sequence[AptSource], where: str
) -> AptState:
    """The state that the first apt command finds.

    Args:
        found: the wanted files (see ``image_layers.read_layers``).
        architecture: Debian's name.
        sources: what Kolla's source list names; it takes the place of the image's own.
        where: the image, for messages.

    Raises:
        ResolutionError: nothing that apt could work on, or another release.
    """
    texts = {path: data.decode("utf-8", "replace") for path, data in found.items() if data is not None}
    strange = sorted(path for path in found.keys() - texts.keys() if not metadata_path(path))
    if strange:
        raise ResolutionError(f"{where}: /{strange[0]} is no regular file or folder, which apt's state is not read by")
    _check_release(texts.get(_OS_RELEASE, ""), sources, where)
    foreign = [word for word in texts.get(_FOREIGN, "").split() if word != architecture]
    if foreign:
        raise ResolutionError(f"{where} has foreign architectures ({', '.join(foreign)}), which cannot be followed")
    packages = {name: Installed("", stanza) for name, stanza in _installed(texts.get(_STATUS, ""), architecture, where)}
    if "apt" not in packages:
        raise ResolutionError(
            f"{where} holds no apt, so nothing could be installed in it",
            remedy="Kolla's bases are full distributions, not distroless or scratch images. Choose such a one.",
        )
    auto = [values["package"] for values in _stanzas(texts.get(_MARKS, "")) if values.get("auto-installed") == "1"]
    etc = {f"/{path}": text for path, text in texts.items() if _PREFERENCES.fullmatch(path)}
    for path in sorted(texts):
        if _CONF.fullmatch(path) and (settings := parse_conf(texts[path], f"{where}: /{path}")):
            etc[f"/{path}"] = settings
    lines = (f"deb {source.address} {source.suite} {' '.join(source.components)}\n" for source in sources)
    etc["/etc/apt/sources.list"] = "".join(lines)
    return AptState(python=_distributions(found, where)).replace(packages, auto, etc)


def _check_release(os_release: str, sources: Sequence[AptSource], where: str) -> None:
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", os_release, re.MULTILINE)
    known = sorted({re.split(r"[-/]", source.suite)[0] for source in sources})
    if found and known and found[1] not in known:
        raise ResolutionError(
            f"{where} is of the release {found[1]}; Kolla's package sources are those of {', '.join(known)}",
            remedy="Take an image of the release that base.release names.",
        )


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    return (values for stanza in re.split(r"\n\s*\n", text) if "package" in (values := fields(stanza)))


def _installed(status: str, architecture: str, where: str) -> Iterable[tuple[str, str]]:
    """(name, stanza) of every installed package of dpkg's status."""
    for stanza in re.split(r"\n\s*\n", status):
        values = fields(stanza)
        name, condition = values.get("package", ""), values.get("status", "").split()
        if not name or condition[2:] in (["config-files"], ["not-installed"]):
            continue
        if condition[1:] != ["ok", "installed"]:
            raise ResolutionError(f"{where}: its package {name} is `{values.get('status')}`, not whole")
        if values.get("architecture") not in (architecture, "all"):
            raise ResolutionError(f"{where}: its package {name} is for {values.get('architecture')}")
        yield name, stanza.strip("\n") + "\n"


def _distributions(found: Mapping[str, bytes | None], where: str) -> dict[str, str]:
    """Python projects in the image's dist-packages, with their versions."""
    named = {
        path: metadata_identity(data, f"{where}, /{path}")
        for path, data in found.items()
        if data is not None and metadata_path(path)
    }
    # What lies in /usr/local comes first on Python's path.
    order = sorted(named, key=lambda path: (path.startswith("usr/local/"), path))
    return dict(sorted(dict(named[path] for path in order).items()))
