"""A gem's specification in Ruby's Marshal format 4.8, made from what the index says of it.

``gem install`` reads one before it fetches a gem (``quick/Marshal.4.8/…``). No index vouches for those files, and
loading a foreign one runs whatever it names; so the room's are made here: name, version, platform and needs. What is
installed is described by the gem's own specification, which its sha256 covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airlock.lock.gem_versions import Bound

if TYPE_CHECKING:
    from airlock.lock.gem_index import Gem

_NIL, _TRUE, _FALSE = b"0", b"T", b"F"
_SPECIFICATION = 4  # version of Gem::Specification's own format
_RUBYGEMS = "3.3.0"


def specification(gem: Gem) -> bytes:
    """A whole Marshal stream of one Gem::Specification (``Gem::Specification#_dump``)."""
    dependencies = [_dependency(name, bounds) for name, bounds in sorted(gem.dependencies.items())]
    platform = _text("ruby")
    if gem.platform != "ruby":
        cpu, _, rest = gem.platform.partition("-")
        system, _, version = rest.partition("-")
        parts = {"@cpu": _text(cpu), "@os": _text(system), "@version": _text(version) if version else _NIL}
        platform = _object("Gem::Platform", parts)
    fields = [
        _text(_RUBYGEMS),
        b"i" + _long(_SPECIFICATION),
        _text(gem.name),
        _version(gem.version),
        _text("1980-01-01"),
        _text(gem.name),  # summary
        _requirement(gem.ruby),
        _requirement(gem.rubygems),
        _text(gem.platform),
        _array(dependencies),
        _text(""),
        _NIL,  # email
        _array([]),  # authors
        _NIL,  # description
        _NIL,  # homepage
        _TRUE,
        platform,
        _array([]),  # licenses
        b"{" + _long(0),  # metadata
    ]
    dumped = b"\x04\x08" + _array(fields)
    return b"\x04\x08u" + _symbol("Gem::Specification") + _long(len(dumped)) + dumped


def _dependency(name: str, bounds: Sequence[Bound]) -> bytes:
    wanted = _requirement(bounds)
    parts = {
        "@name": _text(name),
        "@requirement": wanted,
        "@type": _symbol("runtime"),
        "@prerelease": _FALSE,
        "@version_requirements": wanted,
    }
    return _object("Gem::Dependency", parts)


def _requirement(bounds: Sequence[Bound]) -> bytes:
    pairs = [_array([_text(sign), _version(version)]) for sign, version in bounds]
    return b"U" + _symbol("Gem::Requirement") + _array([_array(pairs)])


def _version(version: str) -> bytes:
    return b"U" + _symbol("Gem::Version") + _array([_text(version)])


def _object(name: str, parts: dict[str, bytes]) -> bytes:
    return b"o" + _symbol(name) + _long(len(parts)) + b"".join(_symbol(key) + value for key, value in parts.items())


def _array(items: Sequence[bytes]) -> bytes:
    return b"[" + _long(len(items)) + b"".join(items)


def _text(text: str) -> bytes:
    """A string in UTF-8: it has one instance variable that says so."""
    data = text.encode()
    return b'I"' + _long(len(data)) + data + _long(1) + _symbol("E") + _TRUE


def _symbol(name: str) -> bytes:
    data = name.encode()
    return b":" + _long(len(data)) + data


def _long(number: int) -> bytes:
    """A whole number of zero or more, in Marshal's own packing."""
    if number == 0:
        return b"\0"
    if number < 123:
        return bytes([number + 5])
    data = number.to_bytes((number.bit_length() + 7) // 8, "little")
    return bytes([len(data)]) + data
