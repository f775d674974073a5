"""Which Ruby an image has, and which gems are there already: read from the .debs that are installed in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from airlock.core.errors import ResolutionError
from airlock.lock.apt_text import split_fields
from airlock.lock.deb_files import read_deb_files
from airlock.lock.gem_index import NAME, Gem
from airlock.lock.gem_versions import Bound, GemVersion, parse_requirements
from airlock.lock.model import Artifact

_WANTED = re.compile(
    r"\.?/?(?P<path>.*/(?:rbconfig\.rb|rubygems\.rb|specifications/(?:default/)?(?P<gem>[^/]+)\.gemspec))"
)
_NUMBER = re.compile(r'CONFIG\["(MAJOR|MINOR|TEENY)"\]\s*=\s*"(\d+)"')
_RUBYGEMS = re.compile(r"""^\s*VERSION\s*=\s*["']([0-9A-Za-z.]+)["']""", re.MULTILINE)
_NEEDS = re.compile(r"add_(?:runtime_)?dependency\(%q<(?P<name>[^>]+)>(?:\.freeze)?,\s*\[(?P<bounds>[^\]]*)\]")


class RubyFiles(msgspec.Struct):
    """What one .deb has for Ruby: path → text of the files that tell."""

    files: dict[str, str] = {}


class RubyState(msgspec.Struct):
    """One Ruby of an image.

    Attributes:
        ruby, rubygems: versions.
        installed: the gems that it finds.
    """

    ruby: str
    rubygems: str
    installed: list[Gem]


def is_ruby(deb: Artifact, stanzas: Mapping[str, str]) -> bool:
    """Whether a .deb may hold a Ruby or gems: by its name, or since it depends on Ruby."""
    if re.match(r"(lib)?ruby|rake|fluent|td-agent", deb.name):
        return True
    fields = split_fields(stanzas.get(deb.id, ""))
    depends = " ".join(text for name, text in fields if name in ("depends", "pre-depends"))
    return bool(re.search(r"\b(lib)?ruby(\d|\b)", depends))


def read_deb(path: Path, ident: str) -> RubyFiles:
    """The telling files of a .deb, as dpkg-deb(1) unpacks it; nothing is written or run.

    Raises:
        FormatError: it is no Debian package.
    """
    found = RubyFiles()
    for name, data in read_deb_files(path, ident, _WANTED.fullmatch).items():
        if match := _WANTED.fullmatch(name):
            found.files[match["path"]] = data.decode("utf-8", "replace")
    return found


def ruby_state(debs: Iterable[RubyFiles], program: str, where: str) -> RubyState:
    """The Ruby that ``program`` runs on: ``gem`` that of Debian, ``fluent-gem`` the one below /opt.

    Raises:
        ResolutionError: no package has it.
    """
    below = "opt/" if program.startswith("fluent") else "usr/"
    files = {path: text for deb in debs for path, text in deb.files.items() if path.startswith(below)}
    numbers = _last(files, "rbconfig.rb", lambda text: dict(_NUMBER.findall(text)))
    rubygems = _last(files, "rubygems.rb", lambda text: match[1] if (match := _RUBYGEMS.search(text)) else "")
    if not isinstance(numbers, dict) or len(numbers) != 3 or not rubygems:
        raise ResolutionError(
            f"{where}: no package that is installed has the Ruby of {program}",
            remedy="Install its package in the image before this command.",
        )
    gems = [gem for path, text in sorted(files.items()) if (gem := _gem(path, text)) is not None]
    ruby = ".".join(numbers[part] for part in ("MAJOR", "MINOR", "TEENY"))
    return RubyState(ruby, str(rubygems), gems)


def _last(files: Mapping[str, str], name: str, read: object) -> object:
    assert callable(read)
    texts = [text for path, text in sorted(files.items()) if path.endswith(f"/{name}")]
    return next((found for text in reversed(texts) if (found := read(text))), None)


def _gem(path: str, text: str) -> Gem | None:
    """A gem by the file that specifies it: NAME-VERSION[-PLATFORM].gemspec, as ``gem`` itself writes it."""
    match = _WANTED.fullmatch(path)
    parts = re.fullmatch(
        r"(?P<name>.+?)-(?P<version>\d[0-9A-Za-z.]*)(?:-(?P<platform>.+))?", (match and match["gem"]) or ""
    )
    if parts is None or not NAME.fullmatch(parts["name"]):
        return None
    try:
        version = GemVersion(parts["version"]).text
        needs = {one["name"]: _bounds(one["bounds"]) for one in _NEEDS.finditer(text)}
    except ValueError:
        return None
    return Gem(parts["name"], version, parts["platform"] or "ruby", needs, ((">=", "0"),), ((">=", "0"),))


def _bounds(text: str) -> tuple[Bound, ...]:
    return parse_requirements(re.findall(r'"([^"]+)"', text))
